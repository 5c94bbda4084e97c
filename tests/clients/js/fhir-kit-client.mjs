// https://github.com/Vermonster/fhir-kit-client
import { Client } from "fhir-kit-client";
import { base, ifMatch, obey } from "./steps.mjs";

await obey(
  (caller) => {
    const client = new Client({ baseUrl: base, customHeaders: { "Sluss-Caller": caller } });
    return {
      capabilities: () => client.capabilityStatement(),
      read: ({ type, id }) => client.read({ resourceType: type, id }),
      history: ({ type, id }) => client.history({ resourceType: type, id }),
      search: async ({ type, parameters, include }) => {
        const found = [];
        const searchParams = { ...parameters, _include: include.map((name) => `${type}:${name}`) };
        let page = await client.search({ resourceType: type, searchParams });
        while (page) {
          found.push(...(page.entry ?? []).map((entry) => entry.resource));
          page = await client.nextPage({ bundle: page });
        }
        return found;
      },
      create: ({ resource }) => client.create({ resourceType: resource.resourceType, body: resource }),
      update: ({ resource, version }) =>
        client.update({
          resourceType: resource.resourceType,
          id: resource.id,
          body: resource,
          options: { headers: ifMatch(version) },
        }),
      patch: ({ type, id, operations, version }) =>
        client.patch({ resourceType: type, id, jsonPatch: operations, options: { headers: ifMatch(version) } }),
      transaction: ({ bundle }) => client.transaction({ body: bundle }),
      assess: ({ resource }) => client.operation({ name: "assess", resourceType: "ServiceRequest", input: resource }),
      remove: ({ type, id }) => client.delete({ resourceType: type, id }),
      // what came with the answer, not in it
      verdict: async ({ resource }) => {
        const stored = await client.create({ resourceType: resource.resourceType, body: resource });
        return Client.httpFor(stored).response.headers.get("Sluss-Verdict");
      },
    };
  },
  (error) => error.response?.data,
);
