/** The generated headers of the engine. */
export { renderConstantsHeader } from "./generate-constants.ts";
export { renderOperationsHeader } from "./generate-operations.ts";
export { renderRecordsHeader } from "./generate-records.ts";
