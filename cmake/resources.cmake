# The HUD's page: files of web/ become bytes in assay_hud, so that the binary needs nothing beside it. No node, no bundler.
file(GLOB ASSAY_WEB_FILES CONFIGURE_DEPENDS
  "${PROJECT_SOURCE_DIR}/web/*.html" "${PROJECT_SOURCE_DIR}/web/*.css" "${PROJECT_SOURCE_DIR}/web/*.js" "${PROJECT_SOURCE_DIR}/web/*.svg")
set(ASSAY_WEB_SOURCE "${PROJECT_BINARY_DIR}/generated/hud_assets.cc")
add_custom_command(
  OUTPUT "${ASSAY_WEB_SOURCE}"
  COMMAND "${CMAKE_COMMAND}" "-DOUT=${ASSAY_WEB_SOURCE}" "-DWEB=${PROJECT_SOURCE_DIR}/web" "-DFILES=${ASSAY_WEB_FILES}"
          -P "${PROJECT_SOURCE_DIR}/cmake/embed.cmake"
  DEPENDS ${ASSAY_WEB_FILES} "${PROJECT_SOURCE_DIR}/cmake/embed.cmake"
  COMMENT "Embedding web/" VERBATIM)
# assay_hud is made later in this folder: add the file to it at the end.
cmake_language(DEFER CALL target_sources assay_hud PRIVATE "${ASSAY_WEB_SOURCE}")
