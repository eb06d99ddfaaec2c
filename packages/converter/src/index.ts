export { convert, type ConvertOptions, type Dtype, ensureConverted } from "./convert.ts";
export { prepareModel, type PrepareOptions } from "./prepare.ts";
