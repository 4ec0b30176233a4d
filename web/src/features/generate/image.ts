/** What the form knows about pictures: which files it takes, which models take one, and how the video crops it. */
import type { ModelView } from '../../api/schema';
import { type Draft, isCustomSize } from './draft';

/** What the file dialog offers. Phones convert their own format to one of these. */
export const ACCEPTED = 'image/png,image/jpeg,image/webp';

/** Whether the model begins its videos from a picture. */
export const takesImage = (model: ModelView): boolean => model.image === 'required';

/** The first picture among files that were dropped, pasted or chosen. */
export const pictureOf = (files: FileList | null | undefined): File | undefined =>
  Array.from(files ?? []).find((file) => file.type.startsWith('image/'));

/** Width over height of the video, for showing the part of the picture that it will show. */
export function aspectOf(draft: Pick<Draft, 'size' | 'aspect'>, model: ModelView): number {
  const [width, height] = isCustomSize(draft.size) ? draft.size.split('x').map(Number) : [];
  if (width && height) return width / height;
  const aspects = model.sizes.find((size) => size.name === draft.size)?.aspects ?? [];
  const found = aspects.find((each) => each.aspect === draft.aspect) ?? aspects[0];
  return found ? found.width / found.height : 1;
}
