// The jobs as a plain script: `node -e`, with the job's name as the argument and the text on stdin.

const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');

const count = (value) =>
  1 + (value !== null && typeof value === 'object' ? Object.values(value).reduce((sum, one) => sum + count(one), 0) : 0);

const job = process.argv[1];
const text = readFileSync(0, 'utf8');
if (job === 'echo') {
  process.stdout.write(JSON.stringify(JSON.parse(text)));
} else if (job === 'hash') {
  process.stdout.write(createHash('sha256').update(text).digest('hex'));
} else if (job === 'parse') {
  process.stdout.write(String(count(JSON.parse(text))));
} else {
  const taken = [];
  for (;;) {
    if (job === 'grow' && taken.length < 2048) {
      taken.push(Buffer.alloc(1 << 20, 1));
    }
  }
}
