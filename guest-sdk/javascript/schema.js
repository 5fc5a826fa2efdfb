// Schemas, as the host takes them: JSON Schema 2020-12 without references. Each function gives a plain object, to which
// further keywords can be added; the types in schema.d.ts make the arguments of `run` of them.

const OPTIONAL = Symbol('optional');

function described(schema, description, more) {
  return description === undefined ? { ...schema, ...more } : { ...schema, description, ...more };
}

export const string = (description, more) => described({ type: 'string' }, description, more);
export const boolean = (description, more) => described({ type: 'boolean' }, description, more);
export const integer = (description, more) => described({ type: 'integer' }, description, more);
export const number = (description, more) => described({ type: 'number' }, description, more);
export const any = (description, more) => described({}, description, more);
/** One of some values. */
export const oneOf = (values, description) => described({ enum: values }, description);
export const array = (items, description, more) => described({ type: 'array', items }, description, more);
/** An object of any keys, whose values are alike. */
export const record = (values, description, more) =>
  described({ type: 'object', additionalProperties: values }, description, more);

/** An object with these properties, and no others. */
export function object(properties, description, more) {
  const required = Object.keys(properties).filter((name) => !properties[name][OPTIONAL]);
  const plain = Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, { ...schema }]));
  for (const schema of Object.values(plain)) {
    delete schema[OPTIONAL];
  }
  const schema = { type: 'object', properties: plain, additionalProperties: false };
  return described(required.length > 0 ? { ...schema, required } : schema, description, more);
}

/** Of a property: it may be left out. */
export function optional(schema) {
  return { ...schema, [OPTIONAL]: true };
}
