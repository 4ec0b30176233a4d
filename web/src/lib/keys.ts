/** Keys of the query cache. */

export const keys = {
  session: ['session'] as const,
  settings: ['settings'] as const,
  models: ['models'] as const,
  /** Of the mutation that uploads the first frame. */
  imageUpload: ['image-upload'] as const,
  loras: (model: string) => ['loras', model] as const,
  tiers: (query: object) => ['tiers', query] as const,
  analysis: (query: object) => ['analysis', query] as const,
  jobs: ['jobs'] as const,
  jobList: (query: object) => ['jobs', query] as const,
  job: (jobId: string) => ['job', jobId] as const,
  stats: ['stats'] as const,
  series: (query: object) => ['series', query] as const,
  workers: ['workers'] as const,
  usage: (query: object) => ['usage', query] as const,
  budgets: ['budgets'] as const,
  runs: (jobId: string) => ['runs', jobId] as const,
  replay: (jobId: string) => ['replay', jobId] as const,
  webhooks: ['webhooks'] as const,
  deliveries: (filter: string) => ['deliveries', filter] as const,
  health: ['health'] as const,
  queue: ['queue'] as const,
  quota: ['quota'] as const,
  apiKeys: ['api-keys'] as const,
};
