#include "assay/program/context.h"

#include <algorithm>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/trace/contract.h"

namespace assay {
namespace {

constexpr std::size_t blob_bytes_min = 257;

std::string join(std::string_view parent, std::string_view segment) {
  return parent.empty() ? std::string(segment) : fmt::format("{}/{}", parent, segment);
}

}  // namespace

Context::Context(Effects effects, Settings settings)
    : effects_(std::move(effects)),
      settings_(std::make_shared<const Settings>(std::move(settings))),
      shared_(std::make_shared<Shared>()),
      calls_(new_counter()) {}

const std::string& Context::trace_id() const {
  // Without a record (benches, tests) there is no run id; call ids are then those of an empty one.
  std::call_once(shared_->trace_id_made,
                 [&] { shared_->trace_id = trace_id_of(effects_.recorder != nullptr ? effects_.recorder->run_id() : "", ""); });
  return shared_->trace_id;
}

Context Context::child(std::string_view name) const {
  std::string base = join(path_, name);
  std::int64_t index = 0;
  {
    const std::lock_guard lock(shared_->mutex);
    index = shared_->names[base]++;
  }
  Context out = *this;
  out.path_ = index == 0 ? std::move(base) : fmt::format("{}:{}", base, index);
  out.calls_ = new_counter();
  return out;
}

Context Context::at(std::string_view segment) const {
  Context out = *this;
  out.path_ = join(path_, segment);
  out.calls_ = new_counter();
  return out;
}

Context Context::with_lm(std::shared_ptr<LM> lm) const {
  Settings changed = *settings_;
  changed.lm = std::move(lm);
  return with_settings(std::move(changed));
}

Context Context::with_rollout(std::int64_t rollout) const {
  Context out = *this;
  out.rollout_ = rollout;
  return out;
}

Context Context::with_wait(Wait wait) const {
  Context out = *this;
  out.effects_.wait = std::move(wait);
  return out;
}

Context Context::with_settings(Settings settings) const {
  Context out = *this;
  out.settings_ = std::make_shared<const Settings>(std::move(settings));
  return out;
}

Result<void> Context::record(std::string_view type, Json data) const { return record_at(path_, type, std::move(data)); }

Result<void> Context::record_at(std::string_view node, std::string_view type, Json data) const {
  if (effects_.recorder == nullptr) return {};
  return effects_.recorder->append(type, node, std::move(data));
}

Result<void> Context::record_text(std::string_view type, std::string_view data, const LmUsage* usage) const {
  if (effects_.recorder == nullptr) return {};
  return effects_.recorder->append_text(type, path_, data, usage);
}

Result<Json> Context::compact_text(const std::string& text) const {
  if (!settings_->journal || text.size() < blob_bytes_min || effects_.recorder == nullptr) return Json(text);
  const std::string id = sha256_hex(text);
  {
    const std::lock_guard lock(shared_->mutex);
    if (!shared_->blobs.insert(id).second) return Json(JsonObject{{"$blob", id}});
  }
  ASSAY_CHECK(record_at("", "blob", JsonObject{{"hash", id}, {"text", text}}));
  return Json(JsonObject{{"$blob", id}});
}

std::int64_t Context::next_call_index() const { return (*calls_)++; }

void Context::add_usage(const LmUsage& usage) const {
  const std::lock_guard lock(shared_->mutex);
  shared_->totals.add(usage);
}

Totals Context::totals() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->totals;
}

namespace {

bool has_dollar_key(const Json& value) {
  if (value.is_list()) return std::any_of(value.as_list().begin(), value.as_list().end(), has_dollar_key);
  if (!value.is_object()) return false;
  return std::any_of(value.as_object().begin(), value.as_object().end(),
                     [](const auto& member) { return member.first.starts_with('$') || has_dollar_key(member.second); });
}

}  // namespace

const Json& recorded_value(const Json& value, Json& wrapped) {
  if (!has_dollar_key(value)) return value;
  return wrapped = recorded_value(value);
}

Json recorded_value(const Json& value) {
  if (value.is_list()) {
    JsonList out;
    for (const Json& item : value.as_list()) out.push_back(recorded_value(item));
    return out;
  }
  if (!value.is_object()) return value;
  JsonObject out;
  for (const auto& [key, item] : value.as_object()) out.set(key.starts_with('$') ? "$" + key : key, recorded_value(item));
  return out;
}

Json value_of_recorded(const Json& value) {
  if (value.is_list()) {
    JsonList out;
    for (const Json& item : value.as_list()) out.push_back(value_of_recorded(item));
    return out;
  }
  if (!value.is_object()) return value;
  JsonObject out;
  for (const auto& [key, item] : value.as_object()) out.set(key.starts_with("$$") ? key.substr(1) : key, value_of_recorded(item));
  return out;
}

}  // namespace assay
