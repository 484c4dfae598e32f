// What a conversation is. A question and its answers are a round; rounds are a tree, because one may be asked anew.
//
// conversation: { id, title, named, created, changed, columns, rounds: [round], chosen: { round or "": round below } }
// column: { id, model, system, temperature, top_p, max_tokens, seed, methods }   null: not sent, so the server's own
// round: { id, parent: round or "", text, pictures: [id], answers: { column: { shown, versions: [version] } } }
// version: { text, state, problem, asked, reason, tokens, seconds, did }   asked: the column's settings then, with the seed
// did: what methods did, or null (methods.js). What was kept before there were methods has neither methods nor did.

export const ROOT = "";
export const STATES = ["writing", "done", "stopped", "broken", "failed"];
export const SETTINGS = { temperature: [0, 100], top_p: [0, 1], max_tokens: [1, 2 ** 31], seed: [0, Number.MAX_SAFE_INTEGER] };
export const MOST_COLUMNS = 4;

export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const newSeed = () => crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;

export function newColumn(model, like = {}) {
  const { system = "", temperature = null, top_p = null, max_tokens = null, seed = null, methods = [] } = like;
  return { id: newId(), model, system, temperature, top_p, max_tokens, seed, methods: [...methods] };
}

export function begin(columns) {
  const now = Date.now();
  const own = columns.map((column) => newColumn(column.model, column));
  return { id: newId(), title: "", named: false, created: now, changed: now, columns: own, rounds: [], chosen: {} };
}

/** The rounds that are seen, from the first on. */
export function path(conversation) {
  const found = [];
  for (let at = ROOT; ;) {
    const next = conversation.rounds.find((round) => round.id === conversation.chosen[at]);
    if (!next) return found;
    found.push(next);
    at = next.id;
  }
}

/** The ways in which a question was put. */
export const siblings = (conversation, round) => conversation.rounds.filter((other) => other.parent === round.parent);

export function addRound(conversation, parent, text, pictures) {
  const round = { id: newId(), parent, text, pictures, answers: {} };
  conversation.rounds.push(round);
  conversation.chosen[parent] = round.id;
  if (!conversation.named && parent === ROOT) conversation.title = titled(text);
  return round;
}

const titled = (text) => {
  const line = text.trim().split("\n", 1)[0];
  return line.length > 60 ? `${line.slice(0, 59).trimEnd()}…` : line || "A picture";
};

export function addVersion(round, column) {
  const answer = (round.answers[column.id] ??= { shown: 0, versions: [] });
  const { model, system, temperature, top_p, max_tokens, methods = [] } = column;
  const asked = { model, system, temperature, top_p, max_tokens, seed: column.seed ?? newSeed(), methods: [...methods] };
  const version = { text: "", state: "writing", problem: "", asked, reason: null, tokens: null, seconds: null, did: null };
  answer.shown = answer.versions.push(version) - 1;
  return version;
}

export const versionShown = (round, column) => {
  const answer = round.answers[column.id];
  return answer?.versions[answer.shown] ?? null;
};

/** What a column said in a round; a column that joined later takes over what the first one said. */
function said(conversation, round, column) {
  for (const one of [column, ...conversation.columns]) {
    const text = versionShown(round, one)?.text.trim();
    if (text) return text;
  }
  return "";
}

/** The rounds above a round, from the first on. */
function above(conversation, round) {
  const found = [];
  for (let at = round.parent; at !== ROOT;) {
    const one = conversation.rounds.find((other) => other.id === at);
    found.unshift(one);
    at = one.parent;
  }
  return found;
}

/** The pictures that go with a question: its own, and those of the rounds above it that were answered. */
export function picturesSent(conversation, round, column) {
  const before = above(conversation, round).filter((one) => said(conversation, one, column));
  return [...before, round].flatMap((one) => one.pictures);
}

/** The messages that ask a column for its answer to a round. What is seen is what is sent; unanswered rounds are not. */
export async function messages(conversation, round, column, system, addressOf) {
  const sent = system.trim() ? [{ role: "system", content: system }] : [];
  for (const one of [...above(conversation, round), round]) {
    const answer = one === round ? null : said(conversation, one, column);
    if (answer === "") continue;
    sent.push({ role: "user", content: await content(one, addressOf) });
    if (answer) sent.push({ role: "assistant", content: answer });
  }
  return sent;
}

async function content(round, addressOf) {
  if (!round.pictures.length) return round.text;
  const parts = [];
  for (const id of round.pictures) parts.push({ type: "image_url", image_url: { url: await addressOf(id) } });
  if (round.text.trim()) parts.push({ type: "text", text: round.text });
  return parts;
}

/** The fields of a request besides its messages; what is not set is left to the server. */
export function fields(asked) {
  const { system, methods = [], ...set } = asked;
  for (const [name, value] of Object.entries(set)) if (value === null) delete set[name];
  if (methods.length) set.methods = methods;
  return { ...set, stream: true, stream_options: { include_usage: true } };
}

/** A column's settings in a few words. */
export function about(column) {
  const words = [];
  if (column.temperature !== null) words.push(`temperature ${column.temperature}`);
  if (column.top_p !== null) words.push(`top p ${column.top_p}`);
  if (column.max_tokens !== null) words.push(`at most ${column.max_tokens} tokens`);
  if (column.seed !== null) words.push(`seed ${column.seed}`);
  if (column.system.trim()) words.push("system prompt");
  if (column.methods?.length) words.push(column.methods.join(" and "));
  return words.join(", ");
}

export const letter = (conversation, column) => "ABCD"[conversation.columns.indexOf(column)];

/** A conversation that was being written when its page was left. */
export function settle(conversation) {
  for (const round of conversation.rounds)
    for (const answer of Object.values(round.answers))
      for (const version of answer.versions)
        if (version.state === "writing") Object.assign(version, { state: "broken", problem: "The page was left while this was written." });
  return conversation;
}
