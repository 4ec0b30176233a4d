/**
 * What the text encoders do not read is shown, with the text itself.
 *
 * @vitest-environment jsdom
 */
import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, describe, expect, it } from 'vitest';
import type { PromptTokensView } from '../../api/schema';
import { UnreadPrompt } from './UnreadPrompt';

afterEach(cleanup);

const reading: PromptTokensView = { field: 'prompt', encoder: 'llama', tokens: 312, tokens_max: 256, unread: 'until night falls' };
const clip: PromptTokensView = { ...reading, encoder: 'clip', tokens_max: 75 };

describe('UnreadPrompt', () => {
  it('quotes what the model will not see, and says how much it reads', () => {
    render(<UnreadPrompt readings={[reading]} withSummary />);
    const shown = screen.getByTestId('unread-prompt').textContent;
    expect(shown).toContain('256 of 312 tokens');
    expect(shown).toContain('“until night falls”');
  });

  it('is silent when everything is read or nothing was counted', () => {
    const { container } = render(
      <>
        <UnreadPrompt readings={[{ ...reading, unread: null }]} withSummary />
        <UnreadPrompt readings={null} withSummary />
      </>,
    );
    expect(container.textContent).toBe('');
  });

  it('mentions the summary only where there is room for it', () => {
    const { rerender } = render(<UnreadPrompt readings={[clip]} withSummary={false} />);
    expect(screen.queryByTestId('unread-prompt')).toBeNull();
    rerender(<UnreadPrompt readings={[clip]} withSummary />);
    expect(screen.getByTestId('unread-prompt').textContent).toContain('summary');
  });

  it('shortens a long text without cutting a character', () => {
    render(<UnreadPrompt readings={[{ ...reading, unread: '🐈'.repeat(500) }]} withSummary />);
    expect(screen.getByTestId('unread-prompt').textContent).toContain('🐈…');
  });
});
