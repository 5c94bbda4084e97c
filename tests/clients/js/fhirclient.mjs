// https://github.com/smart-on-fhir/client-js
import smart from "fhirclient";
import { base, ifMatch, obey, pairs } from "./steps.mjs";

// without a login the library's own way to say more in every request is to override this
class Client extends smart.FhirClient {
  constructor(caller) {
    super(base);
    this.caller = caller;
  }

  async getRequestDefaults() {
    return { headers: { "Sluss-Caller": this.caller } };
  }
}

const json = { "content-type": "application/json" };
const post = (body) => ({ method: "POST", body: JSON.stringify(body), headers: json });

await obey(
  (caller) => {
    const client = new Client(caller);
    return {
      capabilities: async () => {
        if ((await client.getFhirRelease()) !== 4) throw new Error("not R4");
        return client.fhirRequest("metadata");
      },
      read: ({ type, id }) => client.fhirRequest(`${type}/${id}`),
      history: ({ type, id }) => client.fhirRequest(`${type}/${id}/_history`),
      search: async ({ type, parameters, include }) => {
        const found = [];
        const query = new URLSearchParams(pairs(type, parameters, include));
        for await (const resource of client.resources(`${type}?${query}`)) found.push(resource);
        return found;
      },
      create: ({ resource }) => client.create(resource),
      update: ({ resource, version }) => client.update(resource, { headers: ifMatch(version) }),
      patch: ({ type, id, operations, version }) =>
        client.patch(`${type}/${id}`, operations, { headers: ifMatch(version) }),
      transaction: ({ bundle }) => client.fhirRequest("", post(bundle)),
      assess: ({ resource }) => client.fhirRequest("ServiceRequest/$assess", post(resource)),
      remove: ({ type, id }) => client.delete(`${type}/${id}`),
      // what came with the answer, not in it
      verdict: async ({ resource }) => {
        const { response } = await client.create(resource, { includeResponse: true });
        return response.headers.get("Sluss-Verdict");
      },
      // a resource with what its elements refer to in their places
      whole: async ({ type, id, references }) => {
        const resource = await client.fhirRequest(`${type}/${id}`);
        await client.resolveReferences(resource, references);
        return resource;
      },
    };
  },
  // its error has the body in its message only
  (error) => JSON.parse(/\{[^]*\}/.exec(error.message)?.[0] ?? "null"),
);
