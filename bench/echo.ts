/** What a consume answers, with the lengths of a real one. */
export function echo(tokens: number): Record<string, unknown> {
  const grant = { grantId: `gr_00${'0'.repeat(32)}`, source: 'allowance', tokens };
  return {
    success: true,
    entryId: 'le_1a_dXNlci0xMjM0NQ',
    tokensUsed: tokens,
    creditsRemaining: 499,
    availableTokens: 999_900,
    totalTokensUsed: 100,
    from: [grant],
  };
}
