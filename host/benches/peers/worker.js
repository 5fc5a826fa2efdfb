// The jobs as a worker of workerd: POST /JOB with the text as the body.

const count = (value) =>
  1 + (value !== null && typeof value === 'object' ? Object.values(value).reduce((sum, one) => sum + count(one), 0) : 0);

export default {
  async fetch(request) {
    const job = new URL(request.url).pathname.slice(1);
    const text = await request.text();
    if (job === 'echo') {
      return new Response(JSON.stringify(JSON.parse(text)));
    }
    if (job === 'hash') {
      const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
      return new Response([...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join(''));
    }
    if (job === 'parse') {
      return new Response(String(count(JSON.parse(text))));
    }
    const taken = [];
    for (;;) {
      if (job === 'grow' && taken.length < 2048) {
        taken.push(new Uint8Array(1 << 20).fill(1));
      }
    }
  },
};
