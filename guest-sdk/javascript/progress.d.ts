/** Tells the caller what is done so far, of how much if that is known, and what it is about. */
export function report(done: number, total: number | undefined, message: string): void;
/** Whether the caller asked for the call to end: then answer with what there is, soon. */
export function isCancelled(): boolean;
