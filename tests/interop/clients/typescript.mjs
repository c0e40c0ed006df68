// A client on either package of the TypeScript SDK: node typescript.mjs 1|2 ERA COMMAND...
// It carries out ../plan.json and prints what it saw; ../facts.py says what should be seen.
import { readFileSync } from "node:fs";

const [major, era, command, ...args] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(new URL("../plan.json", import.meta.url)));
const about = { name: "interop", version: "1" };
const capabilities = { capabilities: { elicitation: { form: {} } } };
const child = { command, args, env: process.env };
const facts = {};
let reply;
let asked = null;

const answer = async ({ params }) => {
  asked = params.message;
  return reply;
};

async function first() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
  const { ElicitRequestSchema } = await import("@modelcontextprotocol/sdk/types.js");
  const client = new Client(about, capabilities);
  client.setRequestHandler(ElicitRequestSchema, answer);
  const transport = new StdioClientTransport(child);
  // This package tells nobody but the transport which version was agreed on.
  transport.setProtocolVersion = (version) => (facts.protocol = version);
  await client.connect(transport);
  return [client, (params, options) => client.callTool(params, undefined, options)];
}

async function second() {
  const { Client } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  const mode = era === "modern" ? "auto" : "legacy";
  const client = new Client(about, { ...capabilities, versionNegotiation: { mode } });
  client.setRequestHandler("elicitation/create", answer);
  await client.connect(new StdioClientTransport(child));
  facts.protocol = client.getNegotiatedProtocolVersion();
  return [client, (params, options) => client.callTool(params, options)];
}

const [client, call] = await (major === "1" ? first() : second());

async function see(name, look) {
  try {
    facts[name] = await look();
  } catch (error) {
    facts[name] = { error: String(error) };
  }
}

const said = (result) => ({ error: result.isError === true, text: result.content[0].text });

async function lose(answerGiven) {
  asked = null;
  reply = answerGiven;
  const result = said(await call(plan.lose));
  const { snapshots } = (await call(plan.left)).structuredContent;
  return { ...result, asked, left: snapshots.map((each) => each.name) };
}

// The list first: with it the client knows what every structured result has to look like.
await see("tools", async () => (await client.listTools()).tools.map((tool) => tool.name));
await see("structured", async () => (await call(plan.structured)).structuredContent);
await see("refused", async () => said(await call(plan.refused)));
await see("progress", async () => {
  const steps = [];
  const [task] = (await call(plan.running)).structuredContent.tasks;
  const watch = { ...plan.watch, arguments: { ...plan.watch.arguments, upid: task.upid } };
  const onprogress = ({ progress, total, message }) => steps.push([progress, total, message]);
  const waited = (await call(watch, { onprogress })).structuredContent;
  return { asked: task.upid, waited, steps };
});
await see("made", async () => said(await call(plan.make)));
await see("declined", () => lose({ action: "decline" }));
await see("accepted", () => lose({ action: "accept", content: { confirm: true } }));
await see("resources", async () => (await client.listResources()).resources.map((each) => each.uri));
await see("templates", async () => {
  const { resourceTemplates } = await client.listResourceTemplates();
  return resourceTemplates.map((each) => each.uriTemplate);
});
await see("resource", async () => (await client.readResource({ uri: plan.resource })).contents[0].text);
await see("prompts", async () => (await client.listPrompts()).prompts.map((each) => each.name));
await see("prompt", async () => (await client.getPrompt(plan.prompt)).messages[0].content.text);
await see("completion", async () => (await client.complete(plan.completion)).completion.values);
await client.close();
console.log(JSON.stringify(facts));
