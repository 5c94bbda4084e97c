// https://github.com/medplum/medplum, packages/core
import { MedplumClient } from "@medplum/core";
import { base, ifMatch, obey, pairs } from "./steps.mjs";

const { origin, pathname } = new URL(base);

await obey(
  (caller) => {
    const medplum = new MedplumClient({
      baseUrl: origin,
      fhirUrlPath: pathname.slice(1),
      defaultHeaders: { "Sluss-Caller": caller },
    });
    return {
      capabilities: () => medplum.get(medplum.fhirUrl("metadata")),
      read: ({ type, id }) => medplum.readResource(type, id),
      history: ({ type, id }) => medplum.readHistory(type, id),
      search: async ({ type, parameters, include }) => {
        const found = [];
        for await (const page of medplum.searchResourcePages(type, pairs(type, parameters, include))) found.push(...page);
        return found;
      },
      create: ({ resource }) => medplum.createResource(resource),
      conditionalCreate: ({ resource, query }) => medplum.createResourceIfNoneExist(resource, query),
      update: ({ resource, version }) => medplum.updateResource(resource, { headers: ifMatch(version) }),
      patch: ({ type, id, operations, version }) =>
        medplum.patchResource(type, id, operations, { headers: ifMatch(version) }),
      transaction: ({ bundle }) => medplum.executeBatch(bundle),
      assess: ({ resource }) => medplum.post(medplum.fhirUrl("ServiceRequest", "$assess"), resource),
      remove: ({ type, id }) => medplum.deleteResource(type, id),
    };
  },
  (error) => error.outcome,
);
