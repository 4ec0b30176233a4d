/** The analysis of the prompt, requested once typing pauses. The previous result stays until the next one arrives. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { analyze } from '../../api/analyze';
import { keys } from '../../lib/keys';
import { useDebounced } from '../../lib/useDebounced';
import type { Draft } from './draft';
import { promptAt, prompts, toRequest } from './request';

const PAUSE_MS = 250;

/** With several prompts, the one at the caret is analysed; `which` names it. */
export function useAnalysis(draft: Draft, caret: number, isEnabled: boolean) {
  const prompt = promptAt(draft, caret);
  const { seed: _seed, deadline_s: _deadline, similar_prompts: _similar, ...query } = toRequest(draft, prompt);
  const text = useDebounced(JSON.stringify(query), PAUSE_MS);
  const settled = JSON.parse(text) as typeof query;
  const { data, isLoading, error } = useQuery({
    queryKey: keys.analysis(settled),
    queryFn: ({ signal }) => analyze(settled, signal),
    enabled: isEnabled && settled.prompt.length > 0,
    placeholderData: keepPreviousData,
    retry: false,
    staleTime: 20_000,
  });
  const all = draft.isSeveral ? prompts(draft) : [];
  const which = all.length > 1 ? `prompt ${all.indexOf(prompt) + 1} of ${all.length}` : null;
  return { data: prompt ? data : undefined, isLoading, error, which };
}
