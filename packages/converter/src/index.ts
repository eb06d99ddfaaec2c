export { convert, type ConvertOptions, type Dtype } from "./convert.ts";
export { prepareModel, type PrepareOptions } from "./prepare.ts";
