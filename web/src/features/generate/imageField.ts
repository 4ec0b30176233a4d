/** The picture in the draft: the id of an uploaded one, empty for none. What the fleet fills in (hash, size) stays with the job. */
import type { VideoRequest } from '../../api/schema';
import type { Rules } from './kinds';

export const imageField = {
  name: 'image' as const,
  empty: '',
  read: (image: VideoRequest['image']): string => (typeof image === 'string' ? image : (image?.id ?? '')),
  write: (id: string): VideoRequest['image'] => id || null,
  check: (id: string, { model }: Rules): string | undefined =>
    model.image === 'required' && !id ? 'Choose the picture that the video begins from.' : undefined,
};
