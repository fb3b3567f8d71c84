// A shop's server that asks for recommendations, with nothing but fetch (Node 18 and later, Deno, Bun, or a browser).
//     FOOTFALL=https://footfall.example KEY=... node recommend.mjs CUSTOMER

const TIMES = 3;

/** Call the service; again after a pause where it is saturated, restarting or out of reach. */
export async function call(base, path, body, {key, timeoutMs = 2000} = {}) {
  for (let time = 1; ; time += 1) {
    const answer = await fetch(new URL(path, base), {
      method: "POST",
      headers: {"content-type": "application/json", ...(key && {authorization: `Bearer ${key}`})},
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    }).catch((error) => ({ok: false, status: 0, headers: new Headers(), json: async () => ({error: {message: String(error)}})}));
    if (answer.ok) return answer.json();
    const {error = {}} = await answer.json().catch(() => ({}));
    const wait = Number(answer.headers.get("retry-after")) || 0.2 * 2 ** (time - 1);
    if (![0, 429, 503].includes(answer.status) || time > TIMES || wait > 5) {
      throw Object.assign(new Error(error.message || `HTTP ${answer.status}`), {status: answer.status, code: error.code});
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
  }
}

/** What to show on the home page; an empty list is better than a page that fails. */
export async function forYou(base, user_id, options) {
  try {
    return (await call(base, "/v1/recommend", {user_id, k: 12}, options)).items;
  } catch (error) {
    console.error(`recommendations: ${error.message}`);
    return [];
  }
}

/** Tell what a customer did; the id is made here, so that a retry counts once. */
export const tell = (base, event, options) =>
  call(base, "/v1/events", {events: [{event_id: crypto.randomUUID(), ts: new Date().toISOString(), ...event}]}, options);

if (typeof process !== "undefined" && import.meta.url === `file://${process.argv[1]}`) {
  const {FOOTFALL = "http://127.0.0.1:3000", KEY} = process.env, [user = "ann"] = process.argv.slice(2);
  console.log(JSON.stringify(await forYou(FOOTFALL, user, {key: KEY}), null, 2));
}
