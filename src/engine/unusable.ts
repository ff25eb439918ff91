// What the engine of this program can never recover from, unlike a process that dies or does not start.

/** Its message says what is wrong and what to do. */
export class EngineUnusable extends Error {}
