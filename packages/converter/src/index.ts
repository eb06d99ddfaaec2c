export { convert, type ConvertOptions, type Dtype, ensureConverted } from "./convert.ts";
