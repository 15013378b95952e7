#include "assay/lm/local_model.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>

#include <fmt/format.h>

#include "assay/lm/local_chat.h"
#include "assay/lm/local_engine.h"
#include "assay/lm/local_slot.h"
#include "assay/lm/local_speaker.h"

namespace assay {
namespace {

using local::Slot;
using local::Vocabulary;
using Tokens = LocalModel::Tokens;

Result<void> check_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored))
    return fail(ErrorCode::io, "a model is a plain file", "give one in llama.cpp's format", path);
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return fail(ErrorCode::io, "cannot read the model file", "run scripts/fetch-model, or set ASSAY_MODEL_DIR to a folder that has it",
                path);
  char magic[4] = {};
  file.read(magic, 4);
  if (std::string_view(magic, 4) != "GGUF")
    return fail(ErrorCode::malformed, "not a GGUF file", "give a model in llama.cpp's format", path);
  return {};
}

Result<void> check_options(const LocalModelOptions& options) {
  if (options.block_tokens < 8 || options.block_tokens > 512) return fail(ErrorCode::usage, "block_tokens must lie in 8 … 512");
  if (options.threads < 0 || options.threads > 512) return fail(ErrorCode::usage, "threads must lie in 0 … 512");
  if (options.slots < 0 || options.slots > 512) return fail(ErrorCode::usage, "slots must lie in 0 … 512");
  if (options.context_tokens < 64) return fail(ErrorCode::usage, "context_tokens must be at least 64");
  return {};
}

}  // namespace

struct LocalModel::State {
  local::ModelHandle model;
  std::unique_ptr<Vocabulary> vocabulary;
  local::ChatTemplate chat;
  std::string engine;
  int context_tokens = 0;
  std::size_t block = 0;
  Clock* clock = nullptr;

  std::unique_ptr<local::Crew> crew;
  std::mutex lock;                            // guards `idle`
  std::condition_variable freed;
  std::vector<std::unique_ptr<Slot>> slots;
  std::vector<Slot*> idle;

  /// An idle slot, the one that knows most of the prompt; or the reason why the caller need not wait for it any longer.
  Result<Slot*> take(const std::vector<Tokens>& batches, const Wait& wait) {
    std::unique_lock guard(lock);
    while (true) {  // ends: a slot is freed, or wait says so
      ASSAY_CHECK(wait.check(*clock, "the local model"));
      if (!idle.empty()) break;
      freed.wait_for(guard, std::chrono::milliseconds(10));  // short, so that a stop is seen soon
    }
    const auto best = std::max_element(idle.begin(), idle.end(), [&](Slot* a, Slot* b) { return a->known(batches) < b->known(batches); });
    Slot* slot = *best;
    idle.erase(best);
    crew->come();
    return slot;
  }

  void give(Slot* slot) {
    slot->serve(nullptr);
    crew->go();
    const std::scoped_lock guard(lock);
    idle.push_back(slot);
    freed.notify_one();
  }
};

namespace {

/// The most tokens an answer can have: exact for choices, else what sampling allows.
std::int64_t longest(const std::vector<AnswerSegment>& plan, const Sampling& sampling) {
  std::int64_t tokens = 0;
  for (const auto& segment : plan) {
    if (!segment.choice) return sampling.tokens_max;
    tokens += static_cast<std::int64_t>(segment.trie.depth());
  }
  return std::min<std::int64_t>(tokens, sampling.tokens_max);
}

Result<local::ContextHandle> make_context(llama_model* model, const LocalModelOptions& options, int context_tokens) {
  llama_context_params wanted = local::llama().context_default_params();
  wanted.n_ctx = static_cast<std::uint32_t>(context_tokens);
  wanted.n_batch = wanted.n_ubatch = static_cast<std::uint32_t>(options.block_tokens);
  wanted.n_threads = wanted.n_threads_batch = 1;  // a slot asks its crew before each batch
  wanted.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  wanted.swa_full = true;  // a sliding window would forget what a shared beginning needs
  local::ContextHandle context(local::llama().init_from_model(model, wanted));
  if (!context)
    return fail(ErrorCode::unavailable, fmt::format("libllama cannot make a context: {}", local::take_engine_error()),
                "try fewer context tokens", options.path);
  return context;
}

}  // namespace

LocalModel::LocalModel(std::unique_ptr<State> state) : state_(std::move(state)) {}
LocalModel::~LocalModel() = default;

Result<std::unique_ptr<LocalModel>> LocalModel::load(const LocalModelOptions& options, Clock& clock) {
  ASSAY_CHECK(check_options(options));
  ASSAY_CHECK(check_file(options.path));
  ASSAY_TRY(const std::string code, local::start_engine(options.library_folder.empty() ? ASSAY_LLAMA_LIB_DIR : options.library_folder));
  auto state = std::make_unique<State>();
  state->clock = &clock;
  state->block = static_cast<std::size_t>(options.block_tokens);

  llama_model_params model_options = local::llama().model_default_params();
  model_options.n_gpu_layers = 0;
  state->model.reset(local::llama().model_load_from_file(options.path.c_str(), model_options));
  if (!state->model)
    return fail(ErrorCode::malformed, fmt::format("libllama cannot load the model: {}", local::take_engine_error()), {}, options.path);
  auto chat = local::ChatTemplate::of(state->model.get());
  if (!chat) return std::unexpected(std::move(chat.error()).in(options.path));
  state->chat = std::move(*chat);
  state->vocabulary = std::make_unique<Vocabulary>(local::llama().model_get_vocab(state->model.get()));

  state->context_tokens = std::min(options.context_tokens, static_cast<int>(local::llama().model_n_ctx_train(state->model.get())));
  const int slots = options.slots == 0 ? local::usable_processors() : options.slots;
  state->crew = std::make_unique<local::Crew>(options.threads == 0 ? local::usable_processors() : options.threads);
  for (int i = 0; i < slots; ++i) {
    ASSAY_TRY(auto context, make_context(state->model.get(), options, state->context_tokens));
    state->slots.push_back(std::make_unique<Slot>(std::move(context), clock, state->block, state->vocabulary->size(), state->crew.get()));
    state->idle.push_back(state->slots.back().get());
  }
  state->engine = fmt::format("{} block {}", code, options.block_tokens);
  return std::unique_ptr<LocalModel>(new LocalModel(std::move(state)));
}

Result<LocalPrompt> LocalModel::prompt(const std::vector<ChatTurn>& turns) const {
  std::size_t bytes = 0;
  for (const auto& turn : turns) bytes += turn.content.size();
  // A token stands for far fewer than 256 bytes: a text this long cannot fit, and is not worth tokenising.
  if (bytes > static_cast<std::size_t>(state_->context_tokens) * 256) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("{} bytes of messages cannot fit a context of {} tokens", bytes, state_->context_tokens), "shorten the inputs");
  }
  return state_->chat.prompt(turns, *state_->vocabulary);
}

Tokens LocalModel::tokenise(std::string_view text) const { return state_->vocabulary->tokenise(text, false); }

Result<LocalAnswer> LocalModel::answer(const LocalPrompt& prompt, const std::vector<AnswerSegment>& plan, const Sampling& sampling,
                                       const Wait& wait) {
  if (prompt.tokens.empty()) return fail(ErrorCode::usage, "the prompt has no token");
  if (sampling.tokens_max < 1) return fail(ErrorCode::usage, "max_tokens must be at least 1");
  const std::vector<AnswerSegment> segments = plan.empty() ? std::vector<AnswerSegment>(1) : plan;
  const std::size_t need = prompt.tokens.size() + static_cast<std::size_t>(longest(segments, sampling));
  if (need > static_cast<std::size_t>(state_->context_tokens)) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("prompt and answer need {} tokens ({} + {}), the context holds {}", need, prompt.tokens.size(),
                            need - prompt.tokens.size(), state_->context_tokens),
                "fewer or shorter demos, a smaller max_tokens, or a lane with a larger context");
  }
  LocalPrompt opened = prompt;
  Tokens first = sampling.logprobs.yes ? Tokens{} : local::opening(segments);
  if (first.size() > static_cast<std::size_t>(sampling.tokens_max)) first.resize(static_cast<std::size_t>(sampling.tokens_max));
  opened.tokens.insert(opened.tokens.end(), first.begin(), first.end());
  const auto batches = local::batches_of(opened, state_->block);

  ASSAY_TRY(Slot* const slot, state_->take(batches, wait));
  slot->serve(&wait);
  LocalAnswer answer;
  answer.prompt_tokens = static_cast<std::int64_t>(prompt.tokens.size());
  const Result<void> done = [&]() -> Result<void> {
    ASSAY_TRY(const std::size_t reused, slot->prefill(batches));
    answer.reused_tokens = static_cast<std::int64_t>(reused);
    return local::Speaker(*slot, *state_->vocabulary, sampling, first.size(), opened.tokens.back(), answer).speak(segments);
  }();
  state_->give(slot);
  if (!done) return std::unexpected(done.error());
  return answer;
}

void LocalModel::forget() {
  const std::scoped_lock guard(state_->lock);
  for (Slot* slot : state_->idle) slot->forget();
}

int LocalModel::slots() const { return static_cast<int>(state_->slots.size()); }
const std::string& LocalModel::chat_template() const { return state_->chat.text(); }
int LocalModel::context_tokens() const { return state_->context_tokens; }
const std::string& LocalModel::engine() const { return state_->engine; }

}  // namespace assay
