/** A small label. */
import type { ReactNode } from 'react';
import { Icon, type IconName } from './Icon';

const tones = {
  plain: 'bg-raised text-ink',
  accent: 'bg-accent-soft text-accent-ink',
  good: 'bg-good-soft text-good',
  wait: 'bg-wait-soft text-wait',
  bad: 'bg-bad-soft text-bad',
};

export type Tone = keyof typeof tones;

export function Chip({ tone = 'plain', icon, title, children }: { tone?: Tone; icon?: IconName; title?: string; children: ReactNode }) {
  return (
    <span title={title} className={`num inline-flex items-center gap-1 rounded-md px-1.5 py-0.5 text-xs font-medium whitespace-nowrap ${tones[tone]}`}>
      {icon && <Icon name={icon} className="size-3.5" />}
      {children}
    </span>
  );
}
