/** The API's documents by their own names; the shapes are generated from its OpenAPI. */
import type { components } from './api';

type Schemas = components['schemas'];

export type Runs = Schemas['Runs'];
export type RunRow = Schemas['RunRow'];
export type RunDetail = Schemas['RunDetail'];
export type LiveStatus = Schemas['LiveStatus'];
export type SeriesSet = Schemas['SeriesSet'];
export type Series = Schemas['Series'];
export type Ranks = Schemas['Ranks'];
export type NonFinitePoint = Schemas['NonFinitePoint'];
export type AttemptRow = Schemas['AttemptRow'];
export type CheckpointRow = Schemas['CheckpointRow'];
export type CollectorRow = Schemas['CollectorRow'];
export type ActiveAlert = Schemas['ActiveAlert'];
export type JournalHealth = Schemas['JournalHealth'];
export type Verdict = Schemas['Verdict'];
export type Checkpoints = Schemas['Checkpoints'];
export type CheckpointWeights = Schemas['CheckpointWeights'];
export type CheckpointDetail = Schemas['CheckpointDetail'];
export type CheckpointTensors = Schemas['CheckpointTensors'];
export type LayerDrift = Schemas['LayerDrift'];
export type ParameterStability = Schemas['ParameterStability'];
export type TensorDrift = Schemas['TensorDrift'];
export type WeightAlert = Schemas['WeightAlert'];
export type Finding = Schemas['Finding'];
export type Verdicts = Schemas['Verdicts'];
export type Judged = Schemas['Judged'];
export type Figure = Schemas['Figure'];

export type RunState = RunRow['state'];
export type DriftColour = NonNullable<CheckpointWeights['colours'][number]>;
/** A number of ours: JSON spells the non-finite ones. */
export type Num = NonNullable<RunRow['loss']>;

/** What the event stream says. */
export type Changes = Schemas['EventChange'];

export type AlertRow = Schemas['AlertRow'];
export type Alerts = Schemas['Alerts'];
export type AlertDetail = Schemas['AlertDetail'];
export type BatchOfAlert = Schemas['BatchOfAlert'];
export type Acknowledged = Schemas['Acknowledged'];
export type AdviceItem = Schemas['AdviceItem'];
export type ConditionRow = Schemas['ConditionRow'];
export type Layers = Schemas['Layers'];
export type LayerRow = Schemas['LayerRow'];
export type LayerHeatmap = Schemas['LayerHeatmap'];
export type SignalsNow = Schemas['SignalsNow'];
export type SystemStatus = Schemas['SystemStatus'];
export type SystemHost = Schemas['SystemHost'];
export type Gpu = Schemas['Gpu'];
export type ThroughputSamples = Schemas['ThroughputSamples'];
export type ThroughputSample = ThroughputSamples['samples'][number];
