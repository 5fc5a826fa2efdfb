declare const type: unique symbol;
declare const optionally: unique symbol;

/** A schema (JSON Schema 2020-12) of values of a type. */
export interface Schema<T> {
  readonly [type]?: T;
  readonly [keyword: string]: unknown;
}

/** The schema of a property that may be left out. */
export interface Optional<T> extends Schema<T> {
  readonly [optionally]: true;
}

/** What a schema describes. */
export type Of<S> = S extends Schema<infer T> ? T : never;

type Properties = Record<string, Schema<any>>;
type Needed<P extends Properties> = { [K in keyof P as P[K] extends Optional<any> ? never : K]: Of<P[K]> };
type MayLack<P extends Properties> = { [K in keyof P as P[K] extends Optional<any> ? K : never]?: Of<P[K]> };

/** Further keywords, such as `{ minimum: 0 }`. */
type More = Record<string, unknown>;

export function string(description?: string, more?: More): Schema<string>;
export function boolean(description?: string, more?: More): Schema<boolean>;
export function integer(description?: string, more?: More): Schema<number>;
export function number(description?: string, more?: More): Schema<number>;
export function any(description?: string, more?: More): Schema<any>;
/** One of some values. */
export function oneOf<const T extends readonly unknown[]>(values: T, description?: string): Schema<T[number]>;
export function array<T>(items: Schema<T>, description?: string, more?: More): Schema<T[]>;
/** An object of any keys, whose values are alike. */
export function record<T>(values: Schema<T>, description?: string, more?: More): Schema<Record<string, T>>;
/** An object with these properties, and no others. */
export function object<P extends Properties>(
  properties: P,
  description?: string,
  more?: More,
): Schema<Needed<P> & MayLack<P>>;
/** Of a property: it may be left out. */
export function optional<T>(schema: Schema<T>): Optional<T>;
