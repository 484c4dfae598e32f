// The endpoint: models, limits, and answers as they are made.

/** The server said no, in its own words. `wait`: seconds after which it asks to be asked again, or null. */
export class Refusal extends Error {
  constructor(message, status, wait = null) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

/** The connection was lost, or never made. */
export class Dropped extends Error {}

export const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

const KEY = "vitrail-key";

export class Server {
  constructor() {
    try { this.key = sessionStorage.getItem(KEY) || ""; } catch { this.key = ""; }
  }

  /** The key is kept as long as this tab is open, and nowhere else. */
  useKey(key) {
    this.key = key;
    try { if (key) sessionStorage.setItem(KEY, key); else sessionStorage.removeItem(KEY); } catch { /* kept in memory */ }
  }

  /** [{ id, methods }]; methods: those that it is offered with. */
  async models() {
    return (await this.#json("/v1/models")).data.map(({ id, methods = [] }) => ({ id, methods }));
  }

  limits() {
    return this.#json("/page/limits.json");
  }

  async #json(path) {
    const answer = await this.#fetch(path, {});
    try { return await answer.json(); } catch { throw new Dropped(); }
  }

  async #fetch(path, options) {
    const headers = { ...options.headers, ...(this.key && { Authorization: `Bearer ${this.key}` }) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      if (headers.Authorization && !/^[\x20-\x7e]*$/.test(this.key)) throw new Refusal("the key has characters that no header can carry", 401);
      throw new Dropped();
    }
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  /** The pieces of an answer to a chat (its request as JSON): objects as OpenAI's streams have them. */
  async *answer(body, signal) {
    const headers = { "Content-Type": "application/json" };
    const answer = await this.#fetch("/v1/chat/completions", { method: "POST", headers, body, signal });
    try {
      for await (const data of eventData(answer.body)) {
        if (data === "[DONE]") return;
        const piece = parsed(data);
        if (piece.error) throw new Refusal(piece.error.message || "the server broke off without a reason", 500);
        yield piece;
      }
    } catch (error) {
      if (error instanceof Refusal || signal?.aborted) throw error;
      throw new Dropped();
    }
    throw new Dropped(); // it ended, and did not say so
  }
}

function parsed(data) {
  try { return JSON.parse(data); } catch { throw new Refusal("the server sent what is no piece of an answer", 500); }
}

async function refusal(answer) {
  const wait = /^\d+$/.test(answer.headers.get("Retry-After") || "") ? Number(answer.headers.get("Retry-After")) : null;
  let said = "";
  try { said = (await answer.json()).error.message; } catch { /* not the endpoint itself, something in between */ }
  return new Refusal(said || `the server answered ${answer.status} ${answer.statusText}`.trim(), answer.status, wait);
}

/** The data of server-sent events (HTML standard, 9.2): one text an event. */
export async function* eventData(stream) {
  const reader = stream.getReader(), decoder = new TextDecoder(); // no pipe: one that breaks loses what is in it
  let rest = "", data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/); // a \r at the very end may be half of \r\n
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        else if (line === "" && data.length) { yield data.join("\n"); data = []; }
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // lets the server know, where the loop was left early
  }
}
