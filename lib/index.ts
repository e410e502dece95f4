/**
 * mcp-troupe: many MCP servers as one. The whole public surface, for those who embed the engine and for those who
 * extend it.
 */

// For host writers.
export { createEngine } from './engine/engine.ts';
export { loadConfig } from './config/load.ts';
export { ERROR_CODES, TroupeError, isTroupeError, type Delivery, type ErrorCode } from './core/errors.ts';
export { CONNECTION_TRANSITIONS, PROCESS_TRANSITIONS, type Transition } from './connection/transitions.ts';
export type {
  BatchResult,
  ConnectionView,
  Engine,
  Listed,
  ListResult,
  ProcessView,
  RawRequest,
} from './engine/contract.ts';
export type { AggregateRequest, AggregateResult, FanOutRequest, FanOutResult } from './engine/fan-out.ts';
export type { RequestOptions } from './engine/request-factory.ts';
export type { ResourceListener, Subscription } from './engine/watched-resources.ts';
export type { ServerFailure } from './catalog/aggregate.ts';
export type {
  Config,
  EngineConfig,
  Host,
  HostContext,
  ResolvedServer,
  ServerConfig,
} from './config/config.ts';
export type { ConnectionSnapshot, FleetSnapshot, ServerSnapshot } from './supervision/fleet.ts';
export type {
  ConnectionState,
  EngineEvent,
  EngineEventType,
  Era,
  EventOf,
  ListKind,
  ProcessState,
} from './core/events.ts';
export type { Json } from './core/json-rpc.ts';
export type { Principal, Progress } from './core/request.ts';
export type { Limits } from './core/limits.ts';
export type { ExplainRequest } from './engine/contract.ts';
export { verifyAudit } from './security/audit-verify.ts';
export type { AuditProblem, AuditVerdict, VerifyOptions } from './security/audit-verify.ts';
export type { AuditFields, AuditHead, AuditKind } from './security/audit-record.ts';
export type { QuarantineReason } from './security/pinning.ts';
export type { PolicyRule } from './security/policy-rule.ts';
export type { RoleDefinition } from './security/policy.ts';

// For extension writers.
export type { Reducer } from './catalog/reducers.ts';
export type { PickCtx, ReplicaView, RoutingStrategy } from './routing/strategy.ts';
export { STRATEGY_NAMES, strategyByName } from './routing/strategy-registry.ts';
export type { Availability } from './core/availability.ts';
export type { Clock, DeadlineEntry } from './core/clock.ts';
export type { Handler, Interceptor, Response } from './core/interceptor.ts';
export type { Logger, Random } from './core/ports.ts';
export type { OperationClass, Request } from './core/request.ts';
export { amend } from './core/request.ts';
export type {
  Decision,
  Explanation,
  NearRule,
  Operation,
  PolicyEngine,
  PolicyQuery,
} from './security/policy-engine.ts';
export type { ConditionEvaluator, ConditionVariables } from './security/policy-condition.ts';
export { createMemoryPair } from './mcp/transports/memory-pair.ts';
