/**
 * An error opens the panel; only the user closes it.
 *
 * @vitest-environment jsdom
 */
import { cleanup, fireEvent, render } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';
import type { SettingsView } from '../../api/schema';
import { AdvancedFields } from './AdvancedFields';
import { emptyDraft } from './draft';
import type { FormErrors } from './request';

afterEach(cleanup);

const settings = { limits: {} } as unknown as SettingsView;
const wrong: FormErrors = { steps: 'Enter a whole number.' };
const page = (errors: FormErrors) => <AdvancedFields draft={emptyDraft} models={[]} settings={settings} errors={errors} change={() => undefined} />;

function panel(): HTMLDetailsElement {
  const found = document.querySelector('details');
  if (!found) throw new Error('the panel is missing');
  return found;
}

/** As a click on the summary. */
function toggle(isOpen: boolean): void {
  panel().open = isOpen;
  fireEvent(panel(), new Event('toggle'));
}

it('is opened by an error and stays open once it is corrected', () => {
  const { rerender } = render(page({}));
  expect(panel().open).toBe(false);
  rerender(page(wrong));
  expect(panel().open).toBe(true);
  rerender(page({}));
  expect(panel().open).toBe(true);
});

it('is opened and closed by the user, also while it has an error', () => {
  const { rerender } = render(page(wrong));
  toggle(false);
  rerender(page({ steps: 'Enter another number.' }));
  expect(panel().open).toBe(false);
  toggle(true);
  rerender(page({}));
  expect(panel().open).toBe(true);
  toggle(false);
  rerender(page(wrong));
  expect(panel().open).toBe(true);
});
