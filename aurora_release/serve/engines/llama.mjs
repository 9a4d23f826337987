// Serves a GGUF file in the real llama.cpp that the npm package node-llama-cpp brings: the part of OpenAI's
// /v1/completions that `aurora serve` asks for, over a socket. Arguments: {folder, model, socket, slots, tokens, threads}
import {createServer} from "node:http";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const job = JSON.parse(process.argv[2]);
const entry = join(job.folder, "node_modules", "node-llama-cpp", "dist", "index.js");
const {getLlama, LlamaLogLevel, TokenBias} = await import(pathToFileURL(entry));
const llama = await getLlama({build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: job.model});
const context = await model.createContext({contextSize: job.tokens, sequences: job.slots, threads: job.threads});
const free = Array.from({length: job.slots}, () => context.getSequence());
const waiting = [];

const take = () => free.length ? Promise.resolve(free.pop()) : new Promise((resolve) => waiting.push(resolve));
const give = (sequence) => waiting.length ? waiting.shift()(sequence) : free.push(sequence);

function options(asked, answer, step) {
    const bias = TokenBias.for(model);
    for (const [token, logit] of Object.entries(asked.logit_bias ?? {}))
        bias.set(Number(token), {logit});
    const repeated = asked.repeat_penalty !== 1;
    return {
        temperature: asked.temperature, topP: asked.top_p, topK: asked.top_k, minP: asked.min_p,
        // each token is drawn by a sampler of its own
        seed: ((asked.seed ?? Math.floor(Math.random() * 2 ** 32)) * 31 + step * 7919) % 2 ** 32,
        repeatPenalty: {
            punishTokens: repeated ? [...asked.prompt, ...answer] : answer,
            maxPunishTokens: asked.prompt.length + asked.max_tokens,
            penalty: asked.repeat_penalty, frequencyPenalty: asked.frequency_penalty,
            presencePenalty: asked.presence_penalty
        },
        tokenBias: bias
    };
}

function scored({token, logits, totalLogitWeight}, count) {
    const [[, most]] = logits;
    const rows = [...logits].map(([id, logit]) => ({id, logprob: logit - most - Math.log(totalLogitWeight)}));
    return {...rows.find(({id}) => id === token), top_logprobs: rows.slice(0, count)};
}

async function* answer(sequence, asked) {
    await sequence.clearHistory();
    let input = asked.prompt;
    const said = [];
    while (said.length < asked.max_tokens) {
        const generateNext = {
            token: true, totalLogitWeight: true, options: options(asked, said, said.length),
            logits: {filter: {includeSelected: true, includeTop: Math.max(asked.logprobs, 1)}}
        };
        const last = [input.at(-1), {generateNext}];
        const {next} = (await sequence.controlledEvaluate([...input.slice(0, -1), last])).at(-1);
        said.push(next.token);
        input = [next.token];
        const ends = model.isEogToken(next.token);
        yield [scored(next, asked.logprobs), ends ? "stop" : said.length === asked.max_tokens ? "length" : null];
        if (ends)
            return;
    }
}

async function complete(request, response) {
    const asked = JSON.parse(Buffer.concat(await request.toArray()));
    const sequence = await take();
    try {
        response.writeHead(200, {"Content-Type": "text/event-stream"});
        for await (const [token, reason] of answer(sequence, asked)) {
            if (response.closed)
                return;
            const choice = {index: 0, text: "", logprobs: {content: [token]}, finish_reason: reason};
            response.write(`data: ${JSON.stringify({choices: [choice]})}\n\n`);
        }
        response.end("data: [DONE]\n\n");
    } finally {
        give(sequence);
    }
}

createServer((request, response) => {
    if (request.url === "/v1/completions") {
        complete(request, response).catch((error) => {
            console.error(error.message);
            response.destroy();
        });
        return;
    }
    const described = {data: [{id: "gguf", owned_by: "node-llama-cpp", max_model_len: job.tokens}]};
    response.end(request.url === "/v1/models" ? JSON.stringify(described) : "");
}).listen(job.socket);
