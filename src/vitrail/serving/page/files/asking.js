// Asking for one answer, through full houses and lost connections.
import { Dropped, Refusal } from "./server.js";

/** Seconds before each new try after a lost connection. */
export const DELAYS = [1, 2, 4, 8, 15, 30];
const PATIENCE = 40; // how often a full server is asked again

/** Nothing is wrong: the person pressed Stop. */
export class Stopped extends Error {}

/**
 * Asks until the answer is whole. An answer is the same for the same seed, so after a lost connection it is asked for
 * again and goes on where it broke; one that turns out to be another is told by `another`.
 *
 * told: { text(whole), waiting(sentence, or "" when it goes on), another() }
 * kept: what is there of the answer already.
 * Returns { reason, tokens, methods }; methods: what they did, or null. Throws Stopped, Refusal (the server's words) or Dropped (no try is left).
 */
export async function ask(server, body, signal, told, kept = "") {
  for (let tries = 0, refused = 0; ;) {
    try {
      return await once(server, body, signal, told, kept, (text) => { kept = text; tries = 0; });
    } catch (error) {
      if (signal.aborted) throw new Stopped();
      if (error instanceof Refusal && error.status === 429 && refused++ < PATIENCE) {
        await pause(error.wait ?? 5, signal, (left) => told.waiting(`${sentence(error.message)} Asking again in ${left} s.`));
      } else if (error instanceof Dropped && tries < DELAYS.length) {
        const what = kept ? "what was written is kept" : "nothing was written yet";
        const count = `try ${tries + 1} of ${DELAYS.length}`;
        await pause(DELAYS[tries++], signal, (left) => told.waiting(`The connection was lost; ${what}. Connecting again in ${left} s (${count}).`));
      } else throw error;
      told.waiting("Connecting again …");
    }
  }
}

async function once(server, body, signal, told, kept, further) {
  let text = "", reason = null, tokens = null, methods = null, begun = false;
  for await (const piece of server.answer(body, signal)) {
    if (!begun) { begun = true; told.waiting(""); }
    tokens = piece.usage?.completion_tokens ?? tokens;
    methods = piece.methods ?? methods;
    const choice = piece.choices?.[0];
    if (!choice) continue;
    reason = choice.finish_reason ?? reason;
    if (!choice.delta?.content) continue;
    text += choice.delta.content;
    if (kept && !text.startsWith(kept)) {
      if (kept.startsWith(text)) continue; // it has not caught up
      told.another();
    }
    kept = text;
    further(text);
    told.text(text);
  }
  if (kept !== text) { told.another(); further(text); told.text(text); }
  return { reason, tokens, methods };
}

const sentence = (text) => /[.!?]$/.test(text) ? text : `${text}.`;

/** Waits; told every second how many are left. A network that comes back ends it. Throws if stopped. */
async function pause(seconds, signal, tell) {
  const until = performance.now() + seconds * 1000;
  for (;;) {
    const left = until - performance.now();
    if (left <= 0) return;
    tell(Math.ceil(left / 1000));
    if (await moment(Math.min(1000, left), signal)) return;
  }
}

function moment(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const end = (act, value) => () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      removeEventListener("online", online);
      act(value);
    };
    const stop = end(reject, new Stopped()), online = end(resolve, true);
    const timer = setTimeout(end(resolve, false), milliseconds);
    signal.addEventListener("abort", stop);
    addEventListener("online", online);
    if (signal.aborted) stop();
  });
}
