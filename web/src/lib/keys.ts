/** Keys of the query cache. */

export const keys = {
  session: ['session'] as const,
  settings: ['settings'] as const,
  models: ['models'] as const,
  loras: (model: string) => ['loras', model] as const,
  tiers: (query: object) => ['tiers', query] as const,
  analysis: (query: object) => ['analysis', query] as const,
  jobs: ['jobs'] as const,
  jobList: (query: object) => ['jobs', query] as const,
  job: (jobId: string) => ['job', jobId] as const,
  stats: ['stats'] as const,
  series: (query: object) => ['series', query] as const,
  workers: ['workers'] as const,
  health: ['health'] as const,
  queue: ['queue'] as const,
  quota: ['quota'] as const,
};
