#include "assay/trace/worked_case.h"

#include <algorithm>

#include "assay/base/sha256.h"
#include "assay/trace/record_line.h"

namespace assay::worked {
namespace {

Json message(std::string_view role, std::string_view content) {
  JsonObject out;
  out.set("role", role);
  out.set("content", content);
  return out;
}

Json parsed(std::string_view text) { return read_json(text).value(); }

}  // namespace

void CaseEntropy::fill(std::span<std::uint8_t> out) {
  const std::string id = from_hex(run_id).value();
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  if (std::exchange(first_, false)) std::copy_n(id.begin(), std::min(id.size(), out.size()), out.begin());
}

SecretKey key() { return SecretKey::parse(secret).value(); }

Json lane() {
  return parsed(R"({"kind":"local","model":"tiny","tokenizer_sha256":null,"chat_template_sha256":null,"engine":"llama-1",
                    "model_sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"})");
}

Json request() {
  Json out = parsed(R"({"config":{"max_tokens":8,"n":1,"seed_policy":"fixed","stop":["\n"],"temperature":0.0,"top_p":1.0},
                        "seed":7,"schema":null,"tools":{},"rollout":0,
                        "model":{"id":"tiny","digest":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}})");
  out.set("messages", JsonList{message("system", "Choose the archive section that fits the package."),
                               message("user", "Description: chess game for the terminal"), message("assistant", "Section: games"),
                               message("user", "Description: mail filter with Bayesian scoring"), message("assistant", "Section: mail"),
                               message("user", "Description: imap client")});
  return out;
}

RunStart start() {
  RunStart start;
  start.compiled_id = compiled_id;
  start.seed = 7;
  start.price_book = std::string(64, 'c');
  start.lanes = {lane()};
  start.privacy_mode = "public_ok";
  start.assay_version = "0.1.0";
  start.assay_build = "x";
  return start;
}

Result<std::unique_ptr<RunRecorder>> begin(RecorderOptions options, ManualClock& clock, Entropy& entropy) {
  ASSAY_TRY(auto recorder, RunRecorder::create(std::move(options), start(), clock, entropy));
  const auto at = [&](std::int64_t t) { clock.advance(std::chrono::nanoseconds(t - (clock.unix_ns() - started_unix_ns))); };
  at(1000);
  ASSAY_CHECK(recorder->append("node_start", "classify",
                               parsed(R"({"inputs":{"description":"imap client"},"name":"PackageTriage","node_type":"Predict"})")));
  at(2000);
  Json asked = JsonObject{{"lane_id", lane_id}, {"request_hash", request_hash}, {"request", request()}};
  ASSAY_CHECK(recorder->append("lm_request", "classify", std::move(asked)));
  at(5002500);
  Json answered = parsed(
      R"({"content":"Section: mail","cost_msats":7,"finish_reason":"stop","latency_ns":5000000,"usage":{"completion_tokens":3,"prompt_tokens":50}})");
  answered.set("request_hash", request_hash);
  ASSAY_CHECK(recorder->append("lm_response", "classify", std::move(answered)));
  at(5003000);
  ASSAY_CHECK(recorder->append("node_end", "classify", parsed(R"({"error":null,"outputs":{"section":"mail"},"status":"ok"})")));
  at(5004000);
  return recorder;
}

std::string text_of(const RunRecorder& recorder) {
  std::string text;
  for (const RecordEntry& entry : recorder.entries()) text += record_line_text(entry).value() + '\n';
  return text;
}

std::string record_text() {
  ManualClock clock(started_unix_ns);
  CaseEntropy entropy;
  const SecretKey secret_key = key();
  const auto recorder = begin({.path = {}, .key = &secret_key}, clock, entropy).value();
  recorder->finish(std::string(output_hash)).value();
  return text_of(*recorder);
}

std::string reseal(std::vector<RecordEntry> entries) {
  std::string text, prev(first_prev());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].seq = static_cast<std::int64_t>(i);
    entries[i].prev = prev;
    if (entries[i].type == "run_end") entries[i].data.set("root_hash", prev);
    const std::string line = record_line_text(entries[i]).value();
    prev = sha256_hex(line);
    text += line + '\n';
  }
  return text;
}

}  // namespace assay::worked
