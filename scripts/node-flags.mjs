/**
 * Of Node, where it serves the API. What is young is copied whenever 16 MB (the default) have been made, and what the
 * requests under way are made of is always young: with 64 MB requests of a hundred items have 1.2 times the items a
 * second (15 rounds of 15, by turns), single consumes as many. A process that is never asked for so much stays as small.
 */
export const API_FLAGS = ['--max-semi-space-size=64'];
