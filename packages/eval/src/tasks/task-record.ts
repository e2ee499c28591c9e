/** What every reader of a task's file gives. */
export interface TaskRecord {
  readonly fields: Readonly<Record<string, unknown>>;
  /** The line as it stands, for what must not pass through JavaScript numbers. */
  readonly line: string;
  /** `file:line` */
  readonly where: string;
}
