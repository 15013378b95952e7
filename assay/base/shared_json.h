#pragma once
/// @file
/// A JSON value that many hold and few change: copies share it, `set` takes a copy of its own first.
///
///     SharedJson config = JsonObject{{"temperature", 0}};
///     const SharedJson same = config;      // no copy of the value
///     config.set("temperature", 0.7);      // `same` stays as it was
///
/// Thread safety: as std::shared_ptr: a SharedJson belongs to one thread, the value it shows may be read by all.

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include "assay/base/json.h"

namespace assay {

class SharedJson {
 public:
  SharedJson() = default;
  template <class T>
    requires(!std::same_as<std::remove_cvref_t<T>, SharedJson> && std::constructible_from<Json, T>)
  SharedJson(T&& value) : value_(std::make_shared<const Json>(std::forward<T>(value))) {}

  const Json& get() const { return value_ != nullptr ? *value_ : null(); }
  operator const Json&() const { return get(); }
  const Json* operator->() const { return &get(); }
  const Json& at(std::string_view key) const { return get().at(key); }
  void set(std::string key, Json value) {
    Json changed = get();
    changed.set(std::move(key), std::move(value));
    value_ = std::make_shared<const Json>(std::move(changed));
  }
  friend bool operator==(const SharedJson& a, const SharedJson& b) { return a.value_ == b.value_ || a.get() == b.get(); }

 private:
  static const Json& null() {
    static const Json value;
    return value;
  }
  std::shared_ptr<const Json> value_;  // null: the value null
};

}  // namespace assay
