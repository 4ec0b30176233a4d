/** Adapters in the draft: names and scales. What the fleet fills in (fingerprints) stays with the job. */
import type { VideoRequest } from '../../api/schema';

export const LORAS_MAX = 4;

export interface DraftLora {
  name: string;
  scale: number;
}

const isLora = (value: unknown): value is DraftLora =>
  typeof value === 'object' && value !== null && typeof (value as DraftLora).name === 'string' && Number.isFinite((value as DraftLora).scale);

export const lorasField = {
  name: 'loras' as const,
  empty: [] as DraftLora[],
  /** A remix names the adapter; the API takes the file that has the name now. */
  read: (loras: VideoRequest['loras']): DraftLora[] => (loras ?? []).map(({ name, scale }) => ({ name, scale: scale ?? 1 })),
  write: (loras: DraftLora[]): VideoRequest['loras'] => loras,
  isSane: (loras: DraftLora[]): boolean => Array.isArray(loras) && loras.length <= LORAS_MAX && loras.every(isLora),
};
