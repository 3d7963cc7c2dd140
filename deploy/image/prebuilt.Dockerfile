# The operator's image from programs that are built already: static ones, in the folder that docker is given.
#   docker build -f deploy/image/prebuilt.Dockerfile -t mysql-operator:latest FOLDER
# It needs no base image and no network. `cargo lab image` leaves such programs in target/release; copy the two.
FROM scratch
COPY mysql-operator mysql-job /
USER 65532:65532
ENTRYPOINT ["/mysql-operator"]
