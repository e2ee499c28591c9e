/** What a person does on a chat page, whether its model runs on a server or in the browser. */
import type { Page } from "puppeteer-core";

export function personAt(getPage: () => Page) {
  return {
    texts: (selector: string) =>
      getPage().$$eval(selector, (all) => all.map((each) => each.textContent ?? "")),
    ask: async (question: string) => {
      await getPage().type("#text", question);
      await getPage().keyboard.press("Enter");
    },
    set: (id: string, value: string) =>
      getPage().$eval(
        `#${id}`,
        (input, given) => {
          (input as HTMLInputElement).value = given;
        },
        value,
      ),
    /** Presses the last button of that name under the messages. */
    press: (label: string) =>
      getPage().$$eval(
        "article .tools button",
        (all, wanted) => all.findLast((each) => each.textContent === wanted)?.click(),
        label,
      ),
    isAnswered: () =>
      getPage().waitForFunction(
        () =>
          document.getElementById("stop")?.hidden === true &&
          document.querySelectorAll("article.assistant").length > 0,
      ),
  };
}
