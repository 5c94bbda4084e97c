// Clients that get a token by an assertion and do one thing with it: the client, the base, the assertion and a
// referral's number come as arguments, what they have found goes to standard output as JSON.
import { Client } from "fhir-kit-client";
import { MedplumClient } from "@medplum/core";

const [name, base, assertion] = process.argv.slice(2);

async function medplum() {
  const { origin, pathname } = new URL(base);
  const client = new MedplumClient({ baseUrl: origin, fhirUrlPath: pathname.slice(1), tokenUrl: "auth/token" });
  await client.startJwtAssertionLogin(assertion);
  return client.searchResources("Task", "status=requested");
}

async function fhirKitClient() {
  const client = new Client({ baseUrl: base });
  const { tokenUrl } = await client.smartAuthMetadata();
  const answer = await fetch(tokenUrl, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "client_credentials",
      scope: "system/Task.rs",
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      client_assertion: assertion,
    }),
  });
  client.bearerToken = (await answer.json()).access_token;
  const found = await client.search({ resourceType: "Task", searchParams: { status: "requested" } });
  return (found.entry ?? []).map((entry) => entry.resource);
}

const tasks = await { medplum, "fhir-kit-client": fhirKitClient }[name]();
process.stdout.write(JSON.stringify(tasks.map((task) => task.id)) + "\n");
