/** What hostile pictures are described with: the bytes, and the only right answers to them. */
export type Nasty = {
  id: `I${number}`;
  name: string;
  bytes: Buffer;
  /** `any`: a sharp eye or a blind one, both will do; only a crash is wrong. Else the codes it may be refused with. */
  right: "fine" | "any" | readonly string[];
};

export const broken = ["invalid_image"];
export const foreign = ["unsupported_image_media_type"];
export const tooLarge = ["image_too_large"];
export const tooSmall = ["image_too_small"];
export const tooThin = ["image_aspect_ratio"];
export const tooManyFrames = ["image_too_many_frames"];
/** Of all pictures that are not about their sides. */
export const width = 48;
export const height = 40;
