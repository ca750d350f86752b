/** One GET of a document. The browser revalidates by ETag itself: an unchanged document costs a 304. */

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

const PATIENCE_MS = 10_000;

export async function ask<T>(path: string, cancel?: AbortSignal): Promise<T> {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const signal = cancel ? AbortSignal.any([cancel, patience]) : patience;
  let reply: Response;
  try {
    reply = await fetch(path, { cache: 'no-cache', signal });
    if (reply.ok) return (await reply.json()) as T;
  } catch (error) {
    if (cancel?.aborted) throw error;
    throw new Away(patience.aborted ? 'it did not answer within 10 s' : 'no connection');
  }
  if (reply.status >= 500) throw new Away(`it answered with HTTP ${reply.status}`);
  throw new Refused(reply.status, await reason(reply));
}

async function reason(reply: Response): Promise<string> {
  try {
    const problem = (await reply.json()) as { error?: unknown };
    if (typeof problem.error === 'string') return problem.error;
  } catch {
    // a proxy in between answers with a page of its own: the status has to do
  }
  return `The server refused this with HTTP ${reply.status}.`;
}
