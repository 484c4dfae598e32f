// What is under way: each run writes one version of one answer.
import { keyOf } from "./answers.js";
import { ask, Stopped } from "./asking.js";
import { addVersion, fields, letter, messages, picturesSent } from "./conversation.js";
import { number } from "./elements.js";
import { capital, Dropped, Refusal } from "./server.js";

export class Runs {
  #under = new Map(); #page;

  /** page: server, album, announcer, limits(), and what is told: changed(run), ended(run), refusedKey(sentence). */
  constructor(page) {
    this.#page = page;
  }

  has(round, column) {
    return this.#under.has(keyOf(round, column));
  }

  get none() {
    return !this.#under.size;
  }

  /** Those of one conversation. */
  of(id) {
    return [...this.#under.values()].filter((run) => run.conversation.id === id);
  }

  /** Asks for a version of an answer, from where it is. */
  begin(conversation, round, column, version) {
    const run = { conversation, round, column, version, controller: new AbortController() };
    this.#under.set(keyOf(round, column), run);
    Object.assign(version, { state: "writing", problem: "" });
    this.#page.changed(run);
    run.ended = this.#answered(run).finally(() => {
      this.#under.delete(keyOf(round, column));
      this.#page.ended(run);
    });
  }

  /** Stops those of one conversation; done when they have ended. */
  async stop(id) {
    const theirs = this.of(id);
    for (const run of theirs) run.controller.abort();
    await Promise.allSettled(theirs.map((run) => run.ended));
  }

  async #answered(run) {
    const { announcer, server, refusedKey } = this.#page;
    const key = keyOf(run.round, run.column), begun = performance.now();
    const who = run.conversation.columns.length > 1 ? letter(run.conversation, run.column) : "";
    try {
      const body = await this.#request(run);
      announcer.say(who ? `Answer ${who} begins.` : "The answer begins.");
      const { reason, tokens, methods } = await ask(server, body, run.controller.signal, this.#told(run, key, who), run.version.text);
      Object.assign(run.version, { state: "done", problem: run.version.text ? "" : "The answer is empty.", reason, tokens, seconds: (performance.now() - begun) / 1000, did: methods && { methods, pictures: run.sent } });
    } catch (error) {
      Object.assign(run.version, ending(error, run.version));
      if (error instanceof Refusal && error.status === 401) refusedKey(error.message);
    }
    const { text, problem, state, did } = run.version;
    announcer.text(key, who, text, true);
    announcer.say([who && `Answer ${who}.`, problem || (state === "stopped" ? "Stopped." : "End of the answer."), did && "What the methods did stands below it."].filter(Boolean).join(" "));
  }

  #told(run, key, who) {
    const { announcer, changed } = this.#page;
    let heard = "";
    return {
      text(whole) {
        run.version.text = whole;
        announcer.text(key, who, whole);
        changed(run);
      },
      waiting(sentence) {
        run.version.problem = sentence;
        const plain = sentence.replace(/ in \d+ s/g, ""); // the countdown is seen, not heard
        if (plain && plain !== heard) announcer.say(plain);
        heard = plain;
        changed(run);
      },
      another() {
        const { asked } = run.version;
        Object.assign(run.version, { state: "broken", problem: "The connection was lost here, and then the server wrote another answer; it is the next version." });
        run.version = Object.assign(addVersion(run.round, run.column), { asked });
        changed(run);
      },
    };
  }

  async #request(run) {
    const { conversation, round, column, version } = run;
    const { album, limits } = this.#page;
    const { images, body } = limits();
    const sent = run.sent = picturesSent(conversation, round, column);
    const remedy = "edit a question and take some away, or begin a new conversation";
    if (sent.length > images) throw new Refusal(`this conversation has ${sent.length} pictures, and this server takes ${images} at a time; ${remedy}`, 400);
    const said = await messages(conversation, round, column, version.asked.system, (id) => album.dataUrl(id));
    const bytes = new TextEncoder().encode(JSON.stringify({ ...fields(version.asked), messages: said }));
    if (bytes.length > body) throw new Refusal(`this conversation makes ${number(bytes.length)} bytes with its pictures, and this server takes ${number(body)}; ${remedy}`, 413);
    return bytes;
  }
}

function ending(error, version) {
  if (error instanceof Stopped) return { state: "stopped", problem: "" };
  if (error instanceof Dropped) return { state: "broken", problem: `The connection was lost and did not come back. ${version.text ? "What was written is kept." : "Nothing was written."}` };
  if (!(error instanceof Refusal)) console.error(error);
  return { state: "failed", problem: capital(error.message) };
}
