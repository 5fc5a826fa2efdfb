/** How much a line matters. */
export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'critical';

/** Writes a line. `context` is a word for where it comes from, and may be empty. */
export function write(level: Level, context: string, message: unknown): void;
export function trace(message: unknown): void;
export function debug(message: unknown): void;
export function info(message: unknown): void;
export function warn(message: unknown): void;
export function error(message: unknown): void;
export function critical(message: unknown): void;
