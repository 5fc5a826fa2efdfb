// Checks a value against a schema: the keywords that tools need, and loudly no others.

import { key } from '../values.js';

const TYPES = {
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
  array: (value) => Array.isArray(value),
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  number: (value) => typeof value === 'number',
  integer: (value) => Number.isInteger(value),
};
const SILENT = new Set(['description', 'title', 'default', 'examples', 'format']);

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const first = (faults) => faults.find((fault) => fault !== undefined);
const length = (value) => (typeof value === 'string' ? [...value].length : value.length);

/** The first fault, with its JSON path, or `undefined`. */
export function check(schema, value, path = '$') {
  for (const [keyword, wanted] of Object.entries(schema)) {
    const fault = SILENT.has(keyword) ? undefined : ofKeyword(keyword, wanted, schema, value, path);
    if (fault !== undefined) {
      return fault.startsWith('$') ? fault : `${path}: ${fault}`;
    }
  }
  return undefined;
}

function ofKeyword(keyword, wanted, schema, value, path) {
  const isNumber = TYPES.number(value);
  const isObject = TYPES.object(value);
  const unless = (fits, fault) => (fits ? undefined : fault);
  switch (keyword) {
    case 'type':
      return unless([wanted].flat().some((one) => TYPES[one](value)), `it is not of type ${wanted}`);
    case 'enum':
      return unless(wanted.some((one) => same(one, value)), `it is none of ${JSON.stringify(wanted)}`);
    case 'const':
      return unless(same(wanted, value), `it is not ${JSON.stringify(wanted)}`);
    case 'anyOf': {
      const faults = wanted.map((one) => check(one, value, path));
      return unless(faults.includes(undefined), faults[0]);
    }
    case 'properties':
      return isObject
        ? first(Object.keys(wanted).filter((name) => name in value).map((name) => check(wanted[name], value[name], key(path, name))))
        : undefined;
    case 'required': {
      const lacking = isObject ? wanted.filter((name) => !(name in value)) : [];
      return unless(lacking.length === 0, `${lacking[0]} is missing`);
    }
    case 'additionalProperties': {
      const further = isObject ? Object.keys(value).filter((name) => !(name in (schema.properties ?? {}))) : [];
      if (wanted === false) {
        return unless(further.length === 0, `there is no such key as ${further[0]}`);
      }
      return wanted === true ? undefined : first(further.map((name) => check(wanted, value[name], key(path, name))));
    }
    case 'items':
      return Array.isArray(value) ? first(value.map((item, index) => check(wanted, item, `${path}[${index}]`))) : undefined;
    case 'minimum':
      return unless(!isNumber || value >= wanted, `it is less than ${wanted}`);
    case 'maximum':
      return unless(!isNumber || value <= wanted, `it is more than ${wanted}`);
    case 'minLength':
    case 'minItems':
      return unless(!TYPES[keyword === 'minLength' ? 'string' : 'array'](value) || length(value) >= wanted, `it is shorter than ${wanted}`);
    case 'maxLength':
    case 'maxItems':
      return unless(!TYPES[keyword === 'maxLength' ? 'string' : 'array'](value) || length(value) <= wanted, `it is longer than ${wanted}`);
    case 'pattern':
      return unless(!TYPES.string(value) || new RegExp(wanted, 'u').test(value), `it does not match ${wanted}`);
    default:
      throw new Error(`testing does not check the keyword ${keyword}: the host does`);
  }
}
