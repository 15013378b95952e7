#include "assay/sandbox/probe.h"

#include <linux/landlock.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "assay/sandbox/sandbox.h"

namespace assay {

SandboxCapabilities probe_sandbox(const Wait& wait, Clock& clock) {
  SandboxCapabilities out;
  utsname system{};
  uname(&system);
  out.kernel = system.release;
  out.as_root = geteuid() == 0;
  out.landlock_abi = static_cast<int>(std::max(0L, syscall(SYS_landlock_create_ruleset, nullptr, 0UL, LANDLOCK_CREATE_RULESET_VERSION)));
  out.level = out.cgroup = "none";

  SandboxRunRequest request;
  request.commands = {{.cmd = "true"}};
  request.resources.timeout_secs = 10;
  const std::int64_t began = clock.steady_ns();
  const auto response = run_sandboxed(request, SandboxProfile::Small, {}, wait, clock);
  out.start_ms = (clock.steady_ns() - began) / 1'000'000;
  if (!response) {
    out.problem = response.error().message;
    out.remedy = response.error().remedy;
    return out;
  }
  out.missing = response->isolation.missing;
  if (response->status != SandboxStatus::success) {
    out.problem = response->error.value_or("a job that does nothing did not end well");
    out.remedy = "check that /bin/sh and its libraries lie under /usr";
    return out;
  }
  out.available = true;
  out.level = response->isolation.level;
  out.cgroup = response->isolation.cgroup;
  return out;
}

Json to_json(const SandboxCapabilities& capabilities) {
  JsonList missing;
  for (const std::string& text : capabilities.missing) missing.emplace_back(text);
  return JsonObject{{"available", capabilities.available}, {"level", capabilities.level},
                    {"cgroup", capabilities.cgroup},       {"landlock_abi", capabilities.landlock_abi},
                    {"kernel", capabilities.kernel},       {"as_root", capabilities.as_root},
                    {"missing", std::move(missing)},       {"problem", capabilities.problem},
                    {"remedy", capabilities.remedy},       {"start_ms", capabilities.start_ms}};
}

}  // namespace assay
