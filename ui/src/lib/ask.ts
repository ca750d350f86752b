/** One GET of a document, or one POST. The browser revalidates by ETag itself: an unchanged document costs a 304. */

/** The server understood and said no; its sentence is for the user. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** No usable answer: no connection, no answer in time, or a fault of the server. Worth another try. */
export class Away extends Error {}

/** The server is there, and its index is not yet: worth another try soon. */
export class Building extends Error {}

const PATIENCE_MS = 10_000;
const OF_THE_INDEX = /\bindex\b|\brebuil/i;

export function ask<T>(path: string, cancel?: AbortSignal): Promise<T> {
  return answered<T>(path, { cache: 'no-cache' }, cancel);
}

/** One POST of a document, which answers with another. */
export function tell<T>(path: string, body: object): Promise<T> {
  return answered<T>(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
}

async function answered<T>(path: string, request: RequestInit, cancel?: AbortSignal): Promise<T> {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const signal = cancel ? AbortSignal.any([cancel, patience]) : patience;
  let reply: Response;
  try {
    reply = await fetch(path, { ...request, signal });
    if (reply.ok) return (await reply.json()) as T;
  } catch (error) {
    if (cancel?.aborted) throw error;
    throw new Away(patience.aborted ? 'it did not answer within 10 s' : 'no connection');
  }
  const said = await reason(reply);
  if (reply.status === 503 && said !== null && OF_THE_INDEX.test(said)) throw new Building(said);
  // what could not be done is said in words for whoever asked for it
  if (request.method === 'POST' && said !== null && reply.status !== 400) throw new Refused(reply.status, said);
  if (reply.status >= 500) throw new Away(`it answered with HTTP ${reply.status}`);
  // what a 400 says is for whoever wrote the request, patterns and all: here that is this page, or a hand-made address
  if (reply.status === 400) throw new Refused(400, 'The server does not understand what this address asks for.');
  throw new Refused(reply.status, said ?? `The server refused this with HTTP ${reply.status}.`);
}

async function reason(reply: Response): Promise<string | null> {
  try {
    const problem = (await reply.json()) as { error?: unknown };
    return typeof problem.error === 'string' ? problem.error : null;
  } catch {
    return null; // a proxy in between answers with a page of its own: the status has to do
  }
}
