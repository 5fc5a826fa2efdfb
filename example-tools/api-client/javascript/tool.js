// Asks an issue tracker's API. The credential that the API wants is put into each request by the host: this tool never
// has it.

import * as config from './sdk/config.js';
import * as http from './sdk/http.js';
import { ToolError, json, schema, tool, tools } from './sdk/index.js';

// The key of the configuration that names the API, such as `https://api.example.com`.
const API_URL = 'api_url';

export const openIssues = tool({
  name: 'open_issues',
  description: 'Lists the open issues of a repository.',
  input: schema.object({
    owner: schema.string("The owner's name."),
    repository: schema.string("The repository's name."),
  }),
  output: schema.array(
    schema.object({ number: schema.integer('Its number.'), title: schema.string('Its title.') }),
  ),
  run({ owner, repository }) {
    for (const name of [owner, repository]) {
      if (!/^[A-Za-z0-9._-]+$/.test(name)) {
        throw ToolError.invalidArguments(`"${name}" is not a name`);
      }
    }
    const api = config.get(API_URL);
    if (api === undefined) {
      throw ToolError.failed(`\`${API_URL}\` is not configured`);
    }
    const url = `${api}/repos/${owner}/${repository}/issues`;
    const answer = http.get(url).query('state', 'open').header('accept', 'application/json').send();
    return json(answer.success().json().map(({ number, title }) => ({ number, title })));
  },
});

const offered = tools(openIssues);
export { offered as tools };
