// What a client in a process of its own is told to do: a line of JSON in, a line of JSON out.
import { createInterface } from "node:readline";

/**
 * Carry out what stands on standard input until it ends. `clientFor(caller)` makes a client that acts for a caller, as
 * an object of steps; `outcomeOf(error)` finds the OperationOutcome in that client's own error.
 */
export async function obey(clientFor, outcomeOf) {
  const clients = new Map();
  for await (const line of createInterface({ input: process.stdin })) {
    const { caller, step, given } = JSON.parse(line);
    if (!clients.has(caller)) clients.set(caller, clientFor(caller));
    let answer;
    try {
      answer = { done: (await clients.get(caller)[step](given)) ?? null };
    } catch (error) {
      answer = { refused: outcomeOf(error) ?? null, error: String(error?.stack ?? error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}

/** The FHIR base, as the service's users know it. */
export const base = process.env.FHIR_BASE;

/** `If-Match` of a version, where one is given. */
export const ifMatch = (version) => (version ? { "If-Match": `W/"${version}"` } : {});

/** The searches of every client take these as pairs, since a name may come twice. */
export const pairs = (type, parameters, include) => [
  ...Object.entries(parameters),
  ...include.map((name) => ["_include", `${type}:${name}`]),
];
