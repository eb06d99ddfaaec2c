import { describe, expect, test } from "vitest";
import { createDice } from "./fixtures.ts";
import { createOutputText, createTokenTable, type TextPiece } from "./output-text.ts";

// A vocabulary of all 256 bytes, some longer byte strings, and control tokens.
const CHUNKS = ["Hello", " world", "\n", "\n\n", "END", "ST", "OP", "é", "你好", "😀"].map((text) =>
  Buffer.from(text),
);
const CONTROL = [
  "<think>",
  "</think>",
  "<|begin_of_box|>",
  "<|end_of_box|>",
  "<|user|>",
  "<tool_call>",
];
const pieces = [
  ...Array.from({ length: 256 }, (_, byte) => Buffer.of(byte)),
  ...CHUNKS,
  ...CONTROL.map((text) => Buffer.from(text)),
];
const idOf = (text: string): number =>
  pieces.findIndex((piece) => piece.toString("latin1") === Buffer.from(text).toString("latin1"));
const added = new Map(CONTROL.map((text) => [text, idOf(text)]));
const table = createTokenTable({
  bytes: new Uint8Array(Buffer.concat(pieces)),
  offsets: Uint32Array.from([
    0,
    ...pieces.map((_, i) => Buffer.concat(pieces.slice(0, i + 1)).length),
  ]),
  special: [idOf("<|user|>")],
  added,
});

type Result = {
  answer: string;
  reasoning: string;
  pieces: TextPiece[];
  stopped: boolean;
  pushed: number;
  /** The text of the tokens that count as the answer's. */
  tokens: string;
};

function run(ids: number[], stop: string[] = [], prompt: number[] = []): Result {
  const text = createOutputText(table, prompt, stop);
  const all: TextPiece[] = [];
  let pushed = 0;
  while (pushed < ids.length && !text.stopped) all.push(...text.push([ids[pushed++]!]));
  all.push(...text.finish());
  const of = (type: TextPiece["type"]): string =>
    all
      .filter((piece) => piece.type === type)
      .map((piece) => piece.text)
      .join("");
  return {
    answer: of("delta"),
    reasoning: of("reasoning"),
    pieces: all,
    stopped: text.stopped,
    pushed,
    tokens: spelled(text.answer.map(({ at }) => ids[at]!)),
  };
}

const spelled = (ids: number[]): string =>
  Buffer.concat(ids.map((id) => table.bytes(id))).toString();
const bytes = (text: string): number[] => [...Buffer.from(text)];

describe("characters", () => {
  test("come whole: a character's bytes wait for each other", () => {
    const text = createOutputText(table, [], []);
    expect(
      bytes("é😀").map((id) =>
        text
          .push([id])
          .map((piece) => piece.text)
          .join(""),
      ),
    ).toEqual(["", "é", "", "", "", "😀"]);
  });

  test("pieces of any split join to the decoding of the whole", () => {
    const seed = 11;
    const dice = createDice(seed);
    for (let round = 0; round < 3000; round++) {
      // Half of the rounds are text, half are arbitrary bytes: models may produce both.
      const source =
        round % 2 === 0
          ? Buffer.from(
              Array.from({ length: dice.int(0, 12) }, () =>
                dice.pick(["a", "é", "你", "😀", "\u{1f469}\u200d", "\ufeff", "\n"]),
              ).join(""),
            )
          : Buffer.from(
              Array.from({ length: dice.int(0, 16) }, () =>
                dice.pick([
                  0x41, 0x80, 0xbf, 0xc3, 0xe4, 0xed, 0xa0, 0xf0, 0x9f, 0xf8, 0xff, 0xef, 0xbb,
                ]),
              ),
            );
      const result = run([...source]);
      const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(source);
      expect(result.answer, `seed ${seed}, round ${round}`).toBe(whole);
      for (const piece of result.pieces)
        expect(piece.text.isWellFormed() && piece.text !== "").toBe(true);
    }
  });

  test("an unfinished one at the end is one replacement character", () => {
    expect(run(bytes("ok😀").slice(0, -1)).answer).toBe("ok\ufffd");
  });

  test("ids past the vocabulary have no text", () => {
    expect(run([65, 9999, 66]).answer).toBe("AB");
  });
});

describe("thinking", () => {
  const think = idOf("<think>");
  const done = idOf("</think>");

  test("is split from the answer, with the newlines after the tags taken off", () => {
    const result = run([
      think,
      idOf("\n"),
      ...bytes("hm"),
      done,
      idOf("\n"),
      idOf("\n"),
      idOf("Hello"),
      idOf("\n"),
      ...bytes("x"),
    ]);
    expect(result).toMatchObject({ reasoning: "hm", answer: "Hello\nx" });
  });

  test("opened by the prompt begins as thinking, closed by it as the answer", () => {
    expect(run([...bytes("a"), done, ...bytes("b")], [], [1, think])).toMatchObject({
      reasoning: "a",
      answer: "b",
    });
    expect(run(bytes("a"), [], [think, done, idOf("\n")])).toMatchObject({
      reasoning: "",
      answer: "a",
    });
  });

  test("that ends inside a character does not spoil the answer", () => {
    expect(run([think, 0xf0, 0x9f, done, ...bytes("é")])).toMatchObject({
      reasoning: "\ufffd",
      answer: "é",
    });
  });
});

test("boxes and special tokens are never shown; other added tokens are text", () => {
  const box = [idOf("<|begin_of_box|>"), ...bytes("4"), idOf("<|end_of_box|>")];
  expect(run([...box, idOf("<|user|>"), idOf("<tool_call>")]).answer).toBe("4<tool_call>");
});

test("tokens pushed together give the text of tokens pushed one by one", () => {
  const seed = 13;
  const dice = createDice(seed);
  for (let round = 0; round < 500; round++) {
    const ids = Array.from({ length: dice.int(0, 20) }, () => dice.int(0, pieces.length));
    const stops = dice.pick([[], ["STOP"], ["END", "o w"]]);
    const alone = run(ids, stops);
    const text = createOutputText(table, [], stops);
    const all = [...text.push(ids), ...text.finish()];
    const of = (type: TextPiece["type"]) =>
      all.flatMap((piece) => (piece.type === type ? piece.text : [])).join("");
    expect(
      { answer: of("delta"), reasoning: of("reasoning"), taken: text.taken },
      `seed ${seed}, round ${round}`,
    ).toEqual({ answer: alone.answer, reasoning: alone.reasoning, taken: alone.pushed });
  }
});

describe("the answer's tokens", () => {
  const all = ["x", "<think>", "Hello", "</think>", "\n\n", "\n", " world", "<|user|>", "\n", "é"];

  test("are its text, without thinking, control tokens and layout", () => {
    expect(run([...all.map(idOf), 9999])).toMatchObject({
      answer: "x world\né",
      tokens: "x world\né",
    });
    const prompt = [idOf("<think>")];
    expect(run([idOf("\n"), idOf("</think>")], [], prompt)).toMatchObject({ tokens: "" });
  });

  test("do not include those that a stop string covers", () => {
    const ids = [idOf("Hello"), idOf("ST"), idOf("OP"), idOf(" world")];
    expect(run(ids, ["STOP"]).tokens).toBe("Hello");
    expect(run(ids, ["loST"])).toMatchObject({ answer: "Hel", tokens: "Hello" });
    expect(run(ids, ["wor"])).toMatchObject({ answer: "HelloSTOP ", tokens: "HelloSTOP world" });
  });

  test("are the same pushed together, over fuzz", () => {
    const seed = 14;
    const dice = createDice(seed);
    for (let round = 0; round < 500; round++) {
      const ids = Array.from({ length: dice.int(0, 20) }, () => dice.int(0, pieces.length));
      const stops = dice.pick([[], ["STOP"], ["END", "o w"]]);
      const text = createOutputText(table, [], stops);
      text.push(ids);
      expect(spelled(text.answer.map(({ at }) => ids[at]!)), `seed ${seed}, round ${round}`).toBe(
        run(ids, stops).tokens,
      );
    }
  });
});

describe("stop strings", () => {
  test("end the text before themselves, across tokens' borders", () => {
    const result = run([idOf("Hello"), idOf("ST"), idOf("OP"), idOf(" world")], ["STOP"]);
    expect(result).toMatchObject({ answer: "Hello", stopped: true, pushed: 3 });
  });

  test("hold back only what may begin one, and give it out when it does not", () => {
    const text = createOutputText(table, [], ["STOP"]);
    const shown = [idOf("Hello"), idOf("ST"), ...bytes("ay")].map((id) =>
      text
        .push([id])
        .map((piece) => piece.text)
        .join(""),
    );
    expect(shown).toEqual(["Hello", "", "STa", "y"]);
    expect(run([idOf("ST")], ["STOP"])).toMatchObject({ answer: "ST", stopped: false });
  });

  test("the first to appear counts, not the first listed", () => {
    expect(run(bytes("xENDySTOP"), ["STOP", "END"]).answer).toBe("x");
    expect(run([idOf("你好"), idOf("😀")], ["😀", "好"]).answer).toBe("你");
  });

  test("concern the answer, not the thinking", () => {
    const ids = [idOf("<think>"), idOf("END"), idOf("</think>"), ...bytes("aENDb")];
    expect(run(ids, ["END"])).toMatchObject({ reasoning: "END", answer: "a", stopped: true });
  });

  test("cut the shortest text that holds one, whatever the tokens", () => {
    const seed = 12;
    const dice = createDice(seed);
    const word = (length: number): string =>
      Array.from({ length }, () => dice.pick(["a", "b", "é"])).join("");
    const cut = (text: string, stops: string[]): string => {
      for (let end = 1; end <= text.length; end++) {
        const found = stops.map((stop) => text.slice(0, end).indexOf(stop)).filter((at) => at >= 0);
        if (found.length > 0) return text.slice(0, Math.min(...found));
      }
      return text;
    };
    for (let round = 0; round < 2000; round++) {
      const source = word(dice.int(0, 30));
      const stops = Array.from({ length: dice.int(1, 4) }, () => word(dice.int(1, 5)));
      expect(run(bytes(source), stops).answer, `seed ${seed}, round ${round}`).toBe(
        cut(source, stops),
      );
    }
  });
});
