// Conversations and their pictures, in this browser (IndexedDB). Where there is none, in memory as long as the page is open.

const NAME = "vitrail-conversations";
const STORES = ["heads", "conversations", "pictures"];

export async function openStore() {
  try { return new Store(await opened()); } catch { return new Passing(); }
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      for (const name of STORES) request.result.createObjectStore(name, { keyPath: "id" });
      request.transaction.objectStore("pictures").createIndex("conversation", "conversation");
    };
    request.onsuccess = () => { request.result.onversionchange = () => request.result.close(); resolve(request.result); };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds an older version"));
  });
}

const answer = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

const head = ({ id, title, changed }) => ({ id, title, changed });
const latestFirst = (heads) => heads.sort((a, b) => b.changed - a.changed);

class Store {
  keeps = true;
  #base;

  constructor(base) {
    this.#base = base;
  }

  #reading(name) {
    return this.#base.transaction(name).objectStore(name);
  }

  #writing(work) {
    return new Promise((resolve, reject) => {
      const transaction = this.#base.transaction(STORES, "readwrite");
      transaction.oncomplete = () => resolve();
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
      work(...STORES.map((name) => transaction.objectStore(name)));
    });
  }

  /** { id, title, changed } of all, the latest first. */
  async heads() {
    return latestFirst(await answer(this.#reading("heads").getAll()));
  }

  read(id) {
    return answer(this.#reading("conversations").get(id));
  }

  picture(id) {
    return answer(this.#reading("pictures").get(id));
  }

  pictures(conversation) {
    return answer(this.#reading("pictures").index("conversation").getAll(conversation));
  }

  write(conversation, pictures = []) {
    return this.#writing((heads, conversations, kept) => {
      heads.put(head(conversation));
      conversations.put(conversation);
      for (const picture of pictures) kept.put({ ...picture, conversation: conversation.id });
    });
  }

  remove(id) {
    return this.#writing((heads, conversations, kept) => {
      heads.delete(id);
      conversations.delete(id);
      kept.index("conversation").getAllKeys(id).onsuccess = (event) => { for (const key of event.target.result) kept.delete(key); };
    });
  }
}

class Passing {
  keeps = false;
  #conversations = new Map(); #pictures = new Map();

  async heads() { return latestFirst([...this.#conversations.values()].map(head)); }
  async read(id) { return structuredClone(this.#conversations.get(id)); }
  async picture(id) { return this.#pictures.get(id); }
  async pictures(conversation) { return [...this.#pictures.values()].filter((one) => one.conversation === conversation); }

  async write(conversation, pictures = []) {
    this.#conversations.set(conversation.id, structuredClone(conversation));
    for (const picture of pictures) this.#pictures.set(picture.id, { ...picture, conversation: conversation.id });
  }

  async remove(id) {
    for (const one of await this.pictures(id)) this.#pictures.delete(one.id);
    this.#conversations.delete(id);
  }
}
