#include "assay/contract/artifact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "assay/base/test_files.h"
#include "assay/contract/samples_test.h"

namespace assay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Json golden(const std::string& name) { return read_json(source_text("tests/golden/" + name + ".artifact.json")).value(); }

// The value at a pointer replaced (or, with nullopt, the member taken out).
void change(Json& at, std::string_view pointer, const std::optional<Json>& value) {
  const std::size_t slash = pointer.find('/', 1);
  std::string key(pointer.substr(1, slash == std::string_view::npos ? slash : slash - 1));
  for (std::size_t i; (i = key.find("~1")) != std::string::npos;) key.replace(i, 2, "/");
  if (slash != std::string_view::npos) {
    Json* next = at.is_list() ? &at.as_list()[std::stoul(key)] : at.as_object().find(key);
    ASSERT_NE(next, nullptr) << pointer;
    return change(*next, pointer.substr(slash), value);
  }
  if (at.is_list()) at.as_list()[std::stoul(key)] = *value;
  else if (value) at.set(key, *value);
  else ASSERT_TRUE(at.as_object().erase(key)) << pointer;
}

Result<Artifact> with(Json base, std::string_view pointer, const std::optional<Json>& value) {
  change(base, pointer, value);
  return Artifact::read(base);
}

TEST(Artifact, ReadsTheSampleAndAnswersAboutIt) {
  const Artifact a = sample_artifact();
  EXPECT_EQ(a.program_name(), "package-triage");
  EXPECT_EQ(a.program_version(), "1");
  EXPECT_EQ(a.entry(), "classify");
  EXPECT_EQ(a.signature().at("name"), Json("PackageTriage"));
  EXPECT_NE(a.predictor("classify"), nullptr);
  EXPECT_EQ(a.predictor("other"), nullptr);
  EXPECT_THAT(a.unsupported(), IsEmpty());
  EXPECT_EQ(a.text(), sample_artifact_text);
  EXPECT_EQ(sha256_hex(a.text()), a.id()->hex());
}

TEST(Artifact, GoldenOnesAreReadAndNameWhatIsNotSupported) {
  EXPECT_THAT(
      Artifact::read(golden("pipeline")).value().unsupported(),
      ElementsAre("renderer json/1 (predictors.route.template.fallback[0])", "reader json/1 (predictors.route.template.fallback[0])"));
  EXPECT_THAT(Artifact::read(golden("react")).value().unsupported(), IsEmpty());
  EXPECT_THAT(Artifact::read(golden("react")).value().unsupported({.module_kinds = {"refine/1"}}),
              ElementsAre("kind react/1 (modules.agent)"));
  EXPECT_THAT(Artifact::read(golden("code")).value().unsupported(), IsEmpty());
  EXPECT_THAT(Artifact::read(golden("image")).value().unsupported(),
              ElementsAre("schema keyword contentEncoding (predictors.read.signature.inputs[0].schema)",
                          "schema keyword contentMediaType (predictors.read.signature.inputs[0].schema)"));
  EXPECT_THAT(Artifact::read(golden("dspy")).value().unsupported(),
              testing::Contains("renderer dspy-chat/1 (predictors[\"self.predict\"].template)"));
}

TEST(Artifact, TheSignatureIsThatOfWhatRuns) {
  EXPECT_EQ(Artifact::read(golden("pipeline")).value().signature().at("name"), Json("SupportRouter"));
  EXPECT_EQ(Artifact::read(golden("code")).value().signature().at("name"), Json("CheckInvoice"));
  const Artifact react = Artifact::read(golden("react")).value();
  EXPECT_EQ(react.signature().at("name"), Json("AnswerTimetableQuestion"));  // entry is the module over it
  EXPECT_EQ(react.signature_of("task"), react.signature());
  EXPECT_TRUE(react.signature_of("nowhere").is_null());
}

// Every member that formats.md shows must be there. Taken from the golden artifacts themselves: each member of each object of
// known shape, one by one.
struct Missing {
  const char* artifact;
  const char* at;  // pointer of the object
  std::vector<const char*> members;
};

TEST(Artifact, EveryMemberShownMustBePresent) {
  const Missing rows[] = {
      {"pipeline", "", {"format", "program", "entry", "predictors", "modules", "flow", "code", "tools"}},
      {"pipeline", "/program", {"name", "version"}},
      {"pipeline", "/predictors/route", {"kind", "signature", "demos", "template", "config"}},
      {"pipeline", "/predictors/route/signature", {"name", "instructions", "inputs", "outputs"}},
      {"pipeline", "/predictors/route/signature/inputs/0", {"name", "description", "schema"}},
      {"pipeline", "/predictors/route/demos/0", {"inputs", "outputs"}},
      {"pipeline", "/predictors/route/template", {"renderer", "reader", "slots", "fallback"}},
      {"pipeline", "/predictors/route/template/fallback/0", {"on", "renderer", "reader", "slots"}},
      {"pipeline", "/predictors/route/config", {"temperature", "top_p", "max_tokens", "stop", "n", "seed_policy"}},
      {"pipeline", "/modules/careful_route", {"kind", "over", "params"}},
      {"pipeline", "/modules/careful_route/params", {"attempts", "threshold", "on_exhausted", "feedback", "reward", "fallback"}},
      {"pipeline", "/modules/careful_route/params/reward", {"name", "version", "digest"}},
      {"pipeline", "/flow", {"signature", "nodes", "out"}},
      {"pipeline", "/flow/nodes/0", {"id", "run", "in"}},
      {"react", "/modules/agent/params", {"max_iters", "tools"}},
      {"react", "/tools/now", {"description", "schema", "digest"}},
      {"code", "/code", {"signature", "name", "version", "digest", "declared"}},
  };
  for (const Missing& row : rows) {
    for (const char* member : row.members) {
      const auto artifact = with(golden(row.artifact), std::string(row.at) + "/" + member, std::nullopt);
      ASSERT_FALSE(artifact) << row.at << "/" << member;
      EXPECT_THAT(artifact.error().message, HasSubstr(member)) << row.at;
    }
  }
}

struct Wrong {
  const char* artifact;
  const char* pointer;
  Json value;
  const char* path;     // of the error
  const char* message;  // part of it
};

TEST(Artifact, WrongValuesAreRefusedWithTheirPlace) {
  const Wrong rows[] = {
      {"pipeline", "/format", "assay.manifest/1", "format", "expected format"},
      {"pipeline", "/program/name", "has space", "program", "no program name"},
      {"pipeline", "/predictors/route/config/temperature", -0.5, "predictors.route.config", "temperature"},
      {"pipeline", "/predictors/route/config/top_p", 1.5, "predictors.route.config", "top_p"},
      {"pipeline", "/predictors/route/config/max_tokens", 0, "predictors.route.config.max_tokens", "from 1"},
      {"pipeline", "/predictors/route/config/max_tokens", 1.5, "predictors.route.config.max_tokens", "expected an integer"},
      {"pipeline", "/predictors/route/config/n", 0, "predictors.route.config.n", "from 1"},
      {"pipeline", "/predictors/route/config/seed_policy", "random", "predictors.route.config", "seed_policy"},
      {"pipeline", "/predictors/route/config/top_k", Json(), "predictors.route.config.top_k", "never null"},
      {"pipeline", "/predictors/route/config/stop", "\n", "predictors.route.config.stop", "expected a list"},
      {"pipeline", "/predictors/route/template/slots/user", 3, "predictors.route.template.slots.user", "expected a string"},
      {"pipeline", "/predictors/route/signature/outputs/1/name", "team", "predictors.route.signature.outputs[1]", "occurs twice"},
      {"pipeline", "/predictors/route/signature/outputs/1/name", "1st", "predictors.route.signature.outputs[1]", "field's name"},
      {"pipeline", "/predictors/condense/signature/inputs/0/label", "secret", "predictors.condense.signature.inputs[0].label",
       "no privacy mode"},
      {"pipeline", "/predictors/route/demos/1/outputs", JsonObject{{"teem", "x"}}, "predictors.route.demos[1].outputs.teem", "no field"},
      {"pipeline", "/modules/careful_route/over", JsonList{"gone"}, "modules.careful_route.over[0]", "no predictor"},
      {"pipeline", "/modules/careful_route/over", JsonList{"careful_route"}, "modules.careful_route", "over itself"},
      {"pipeline", "/modules/careful_route/over", JsonList{"route", "condense"}, "modules.careful_route.over", "exactly one"},
      {"pipeline", "/modules/careful_route/over", JsonList{}, "modules.careful_route.over", "at least one"},
      {"pipeline", "/modules/careful_route/params/attempts", 0, "modules.careful_route.params.attempts", "from 1"},
      {"pipeline", "/modules/careful_route/params/on_exhausted", "worst", "modules.careful_route.params", "on_exhausted"},
      {"pipeline", "/modules/careful_route/params/reward/digest", "AB", "modules.careful_route.params.reward.digest", "64 lowercase hex"},
      {"pipeline", "/modules/route", JsonObject{{"kind", "x/1"}, {"over", JsonList{}}, {"params", JsonObject{}}}, "modules.route",
       "same path"},
      {"pipeline", "/entry", "route", "", "exactly one of"},
      {"pipeline", "/flow", Json(), "", "exactly one of"},
      {"pipeline", "/flow/nodes/0/in/ticket", "input.mail", "flow.nodes[0].in.ticket", "no input \"mail\""},
      {"pipeline", "/flow/nodes/0/in/ticket", "routed.team", "flow.nodes[0].in.ticket", "before this place"},
      {"pipeline", "/flow/nodes/0/in/ticket", "input", "flow.nodes[0].in.ticket", "NODE.FIELD"},
      {"pipeline", "/flow/nodes/1/in/summary", "condensed.team", "flow.nodes[1].in.summary", "no output \"team\""},
      {"pipeline", "/flow/nodes/1/in/mood", "input.ticket", "flow.nodes[1].in.mood", "no input \"mood\""},
      {"pipeline", "/flow/nodes/1/id", "condensed", "flow.nodes[1]", "twice"},
      {"pipeline", "/flow/nodes/1/id", "input", "flow.nodes[1]", "no node id"},
      {"pipeline", "/flow/nodes/1/id", "a.b", "flow.nodes[1]", "no node id"},
      {"pipeline", "/flow/nodes/1/run", "gone", "flow.nodes[1]", "no predictor"},
      {"pipeline", "/flow/out", JsonObject{{"team", "routed.team"}}, "flow.out", "comes from nowhere"},
      {"pipeline", "/flow/out/mood", "routed.team", "flow.out.mood", "no output"},
      {"react", "/entry", "gone", "entry", "no predictor"},
      {"react", "/modules/agent/params/tools/0", "fly", "modules.agent.params.tools[0]", "no tool"},
      {"react", "/tools/now/digest", "12", "tools.now.digest", "64 lowercase hex"},
      {"code", "/code/declared", 1, "code.declared", "expected a boolean"},
      {"code", "/predictors/extract~1lines/kind", "", "predictors[\"extract/lines\"]", "empty"},
  };
  for (const Wrong& row : rows) {
    const auto artifact = with(golden(row.artifact), row.pointer, row.value);
    ASSERT_FALSE(artifact) << row.pointer;
    EXPECT_EQ(artifact.error().path, row.path) << row.pointer << ": " << artifact.error().text();
    EXPECT_THAT(artifact.error().message, HasSubstr(row.message)) << row.pointer;
  }
}

TEST(Artifact, RefusesPathsThatAreNone) {
  for (const std::string path : {"", "/", "a/", "/a", "a//b", "1a", "a b", "ä"}) {
    Json json = sample_json();
    Json& predictors = *json.as_object().find("predictors");
    predictors.set(path, predictors.at("classify"));
    EXPECT_FALSE(Artifact::read(json)) << path;
  }
  EXPECT_TRUE(is_path("self.predict/inner-2/_x"));
  EXPECT_TRUE(is_name(std::string(128, 'a')));
  EXPECT_FALSE(is_name(std::string(129, 'a')));
}

TEST(Artifact, CyclesOverSeveralModulesAreFound) {
  Json json = sample_json();
  const auto module = [](const char* over) { return JsonObject{{"kind", "loop/1"}, {"over", JsonList{over}}, {"params", JsonObject{}}}; };
  json.set("modules", JsonObject{{"a", module("b")}, {"b", module("c")}, {"c", module("a")}});
  const auto artifact = Artifact::read(json);
  ASSERT_FALSE(artifact);
  EXPECT_THAT(artifact.error().message, HasSubstr("over itself"));
  json.set("modules", JsonObject{{"a", module("b")}, {"b", module("c")}, {"c", module("classify")}});
  json.set("entry", "a");
  EXPECT_EQ(Artifact::read(json).value().signature().at("name"), Json("PackageTriage"));
}

TEST(Artifact, UnknownMembersCountForTheIdAndAreRefusedByName) {
  const char* places[] = {"/x",
                          "/program/x",
                          "/predictors/classify/x",
                          "/predictors/classify/signature/x",
                          "/predictors/classify/signature/inputs/0/x",
                          "/predictors/classify/demos/0/x",
                          "/predictors/classify/template/x",
                          "/predictors/classify/config/x"};
  for (const char* place : places) {
    const auto artifact = with(sample_json(), place, Json(1));
    ASSERT_TRUE(artifact) << place;
    EXPECT_NE(artifact->id()->hex(), sample_compiled_id) << place;
    ASSERT_THAT(artifact->unsupported(), testing::SizeIs(1)) << place;
    EXPECT_THAT(artifact->unsupported()[0], HasSubstr(" x")) << place;
    const auto refused = artifact->check_supported();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::refused);
    EXPECT_THAT(refused.error().message, HasSubstr(artifact->unsupported()[0]));
  }
}

TEST(Artifact, UnknownKindsRenderersReadersAndFormatsAreRefusedByName) {
  EXPECT_THAT(with(sample_json(), "/predictors/classify/kind", "predict/2")->unsupported(),
              ElementsAre("kind predict/2 (predictors.classify)"));
  EXPECT_THAT(with(sample_json(), "/predictors/classify/template/renderer", "chat/2")->unsupported(),
              ElementsAre("renderer chat/2 (predictors.classify.template)"));
  EXPECT_THAT(with(sample_json(), "/predictors/classify/template/reader", "chat/2")->unsupported(),
              ElementsAre("reader chat/2 (predictors.classify.template)"));
  const Artifact later = Artifact::read(JsonObject{{"format", "assay.module/2"}, {"anything", 1}}).value();
  EXPECT_THAT(later.unsupported(), ElementsAre("format assay.module/2"));
  EXPECT_EQ(later.program_name(), "");
  EXPECT_TRUE(later.signature().is_null());
  EXPECT_THAT(with(sample_json(), "/predictors/classify/kind", "predict/2")->unsupported({.predictor_kinds = {"predict/2"}}), IsEmpty());
}

TEST(Artifact, Allows96OpenContainersAndRefuses97) {
  const auto nested = [](int depth) {
    Json value = 1;
    for (int i = 0; i < depth; ++i) value = JsonList{value};
    Json json = sample_json();
    json.set("x", value);  // one container more: the artifact itself
    return Artifact::read(json);
  };
  EXPECT_TRUE(nested(95));
  const auto deep = nested(96);
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code, ErrorCode::limit_exceeded);
}

TEST(Artifact, RefusesMoreThan16MiB) {
  Json json = sample_json();
  json.set("x", std::string(artifact_limits.bytes_max, 'a'));
  EXPECT_EQ(Artifact::read(json).error().code, ErrorCode::limit_exceeded);
}

TEST(Artifact, TwoSpellingsOfANumberBehaveAlike) {
  Json json = sample_json();
  change(json, "/predictors/classify/config/max_tokens", Json(8.0));
  const Artifact artifact = Artifact::read(json).value();
  EXPECT_EQ(artifact.id()->hex(), sample_compiled_id);
  EXPECT_TRUE(artifact.predictor("classify")->at("config").at("max_tokens").is_int());
  std::string text = sample_artifact_text;
  text.replace(text.find("\"temperature\":0"), 15, "\"temperature\" : -0.0e5 ");
  EXPECT_EQ(Artifact::parse(text)->id()->hex(), sample_compiled_id);
}

TEST(Artifact, ChangedCopiesAreCheckedAndNamed) {
  const Artifact a = sample_artifact();
  const Artifact b = a.with_demos("classify", {}).value();
  EXPECT_TRUE(b.predictor("classify")->at("demos").as_list().empty());
  EXPECT_NE(b.id()->hex(), a.id()->hex());
  const Artifact c = a.with_instructions("classify", "Pick one.").value();
  EXPECT_EQ(c.signature().at("instructions"), Json("Pick one."));
  EXPECT_EQ(c.with_instructions("classify", "Choose the archive section that fits the package.")->id()->hex(), a.id()->hex());
  EXPECT_FALSE(a.with_demos("classify", {JsonObject{{"inputs", 3}}}));
  EXPECT_FALSE(a.with_config("classify", JsonObject{}));
  const auto none = a.with_demos("klassify", {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::usage);
  EXPECT_THAT(none.error().remedy, HasSubstr("classify"));
}

TEST(Artifact, GarbageIsRefusedNotCrashedOn) {
  for (const char* text : {"", "null", "[]", "3", "{}", "{\"format\":3}", "{\"format\":\"assay.module/1\"}", "{\"format\":\"x\"}"}) {
    EXPECT_FALSE(Artifact::parse(text)) << text;
  }
}

}  // namespace
}  // namespace assay
